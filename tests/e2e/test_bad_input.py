"""Bad input: a clear refusal, an agent that goes on, and nothing changed in what is stored."""
import base64
import concurrent.futures
import json
import os
import socket

import pytest

from harness import PONS, free_port, run, wait_for

STORED = ["/v1/catalog/nodes", "/v1/catalog/services", "/v1/agent/services", "/v1/agent/checks", "/v1/peerings",
          "/v1/config/service-defaults", "/v1/config/service-intentions", "/v1/config/exported-services",
          "/v1/connect/intentions", "/v1/connect/ca/roots"]


def stored(agent):
    return {path: agent.get(path) for path in STORED}


@pytest.fixture(scope="module")
def shared(module_lab):
    agent = module_lab.agent("dc1")
    agent.register({"Name": "web", "Port": 80, "Connect": {"SidecarService": {}}})
    agent.config_entry({"Kind": "service-defaults", "Name": "web", "Protocol": "http"})
    agent.api("POST", "/v1/peering/token", {"PeerName": "waiting"})
    wait_for(lambda: "web" in agent.get("/v1/catalog/services"), "web to be there")
    return agent


@pytest.fixture
def agent(shared):
    """After each test the agent must still answer, and with the same as before."""
    before = stored(shared)
    yield shared
    assert shared.process.running()
    after = stored(shared)
    for path in STORED:
        assert after[path] == before[path] or path == "/v1/agent/checks", path


def sidecar(**upstream):
    return {"Name": "x", "Connect": {"SidecarService": {"Proxy": {"Upstreams": [upstream]}}}}


REFUSED = {
    "cut off": ("PUT", "/v1/agent/service/register", '{"Name": "x", ', 400, "line 1, column"),
    "not JSON": ("PUT", "/v1/agent/service/register", "\x00\xff", 400, "Request decode failed"),
    "not an object": ("PUT", "/v1/agent/service/register", "[1]", 400, "expected an object, got a list"),
    "empty": ("PUT", "/v1/agent/service/register", "", 400, "EOF"),
    "wrong type": ("PUT", "/v1/agent/service/register", {"Name": "x", "Port": "abc"}, 400, "Port: expected a number"),
    "no name": ("PUT", "/v1/agent/service/register", {"Name": ""}, 400, "Missing service name"),
    "no port": ("PUT", "/v1/agent/service/register", {"Name": "x", "Port": 99999}, 400, "99999 is no port"),
    "too deep": ("PUT", "/v1/agent/service/register", "[" * 100000, 400, "nested deeper"),
    "name too long": ("PUT", "/v1/agent/service/register", {"Name": "x" * 300}, 400, "longer than 128 bytes"),
    "upstream to nowhere": ("PUT", "/v1/agent/service/register", sidecar(LocalBindPort=5), 400,
                            "upstream destination name cannot be empty"),
    "upstream without a port": ("PUT", "/v1/agent/service/register", sidecar(DestinationName="y"), 400,
                                "local bind port"),
    "upstream name too long": ("PUT", "/v1/agent/service/register",
                               sidecar(DestinationName="y" * 300, LocalBindPort=5), 400, "longer than 128 bytes"),
    "socket path too long": ("PUT", "/v1/agent/service/register",
                             sidecar(DestinationName="y", LocalBindSocketPath="/" + "s" * 200), 400,
                             "LocalBindSocketPath is longer"),
    "check of no kind": ("PUT", "/v1/agent/check/register", {"Name": "x"}, 400, "must have one of"),
    "check of no service": ("PUT", "/v1/agent/check/register", {"Name": "x", "TTL": "5s", "ServiceID": "nope"},
                            404, "nope"),
    "unknown kind": ("PUT", "/v1/config", {"Kind": "nonsense", "Name": "x"}, 400, "invalid config entry kind: nonsense"),
    "kind of later": ("PUT", "/v1/config", {"Kind": "ingress-gateway", "Name": "x"}, 500, "not supported by this version"),
    "mistyped key": ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "x", "Protocool": "http"}, 400,
                     'unknown key "Protocool"'),
    "entry without a name": ("PUT", "/v1/config", {"Kind": "service-defaults"}, 500, "Name is required"),
    "intention without action": ("PUT", "/v1/config", {"Kind": "service-intentions", "Name": "x",
                                                       "Sources": [{"Name": "y"}]}, 500, "Sources[0].Action"),
    "peer name": ("POST", "/v1/peering/token", {"PeerName": "a/b c"}, 500, "not a valid peer name"),
    "peering key": ("POST", "/v1/peering/token", {"PeerName": "x", "Bogus": 1}, 400,
                    'Body decoding failed: unknown key "Bogus"'),
    "token of nonsense": ("POST", "/v1/peering/establish", {"PeerName": "x", "PeeringToken": "abc"}, 500,
                          "failed to decode token"),
    "catalog without node": ("PUT", "/v1/catalog/register", {"Address": "127.0.0.1"}, 400, "Must provide node"),
    "unknown check": ("PUT", "/v1/agent/check/pass/nope", None, 404, 'Unknown check ID "nope"'),
    "unknown service": ("PUT", "/v1/agent/service/deregister/nope", None, 404, 'Unknown service ID "nope"'),
    "unknown path": ("GET", "/v1/nope", None, 404, "Invalid URL path"),
    "wrong method": ("POST", "/v1/agent/services", {}, 405, "method POST not allowed"),
    "bad index": ("GET", "/v1/health/service/web?index=abc", None, 400, "Invalid index"),
    "bad wait": ("GET", "/v1/health/service/web?wait=abc", None, 400, "Invalid wait time"),
    "unknown datacenter": ("GET", "/v1/health/service/web?dc=other", None, 500, "No path to datacenter"),
    "bad filter": ("GET", "/v1/health/service/web?filter=foo", None, 500, "Failed to create boolean expression"),
    "short CA life": ("PUT", "/v1/connect/ca/configuration", {"Provider": "consul", "Config": {"LeafCertTTL": "10s"}},
                      400, "leaf cert TTL must be"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_words(agent, case):
    """Whoever sends it must learn what is wrong and where; half of it must not be stored."""
    method, path, body, status, words = REFUSED[case]
    answer = agent.api(method, path, body, ok=False)
    assert words in answer.text, answer
    assert answer.status == status, answer


def test_an_oversized_body_is_refused(agent):
    """One client could fill the server's memory."""
    port = agent.ports["http"]
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"PUT /v1/agent/service/register HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("port_name", ["http", "grpc", "grpc_tls"])
@pytest.mark.parametrize("bytes_sent", [
    b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"h" * 200000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 600, os.urandom(20000)],
    ids=["garbage", "length", "smuggling", "header", "http2", "tls", "random"])
def test_bytes_that_are_no_request(agent, port_name, bytes_sent):
    """Anybody who reaches a port can send anything; it must cost the sender a connection and no more."""
    with socket.create_connection(("127.0.0.1", agent.ports[port_name]), 5) as connection:
        try:
            connection.sendall(bytes_sent)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except ConnectionError:
            pass


def tamper(token, change):
    value = json.loads(base64.b64decode(token))
    change(value)
    return base64.b64encode(json.dumps(value).encode()).decode()


def test_tokens_that_must_not_work(agent, lab):
    """A token is a key to a cluster: what was changed on the way, used before, or is our own opens nothing."""
    acceptor = lab.agent("dc2")
    token = acceptor.api("POST", "/v1/peering/token", {"PeerName": "buyer"}).json()["PeeringToken"]
    dead = f"127.0.0.1:{free_port()}"
    other_ca = agent.get("/v1/connect/ca/roots")["Roots"][0]["RootCert"]

    def establish(name, value):
        answer = agent.api("POST", "/v1/peering/establish", {"PeerName": name, "PeeringToken": value}, ok=False)
        agent.api("DELETE", f"/v1/peering/{name}")
        wait_for(lambda: agent.api("GET", f"/v1/peering/{name}", ok=False).status == 404, "the attempt to go")
        return answer

    def changed(**values):
        return tamper(token, lambda content: content.update(values))
    tries = {
        "secret": (changed(EstablishmentSecret="00000000-0000-0000-0000-000000000000"),
                   "invalid peering establishment secret"),
        "forged": (changed(CA=[other_ca]), "certificate"),
        "no-ca": (changed(CA=None), "CA"),
        "name": (changed(ServerName="server.dc2.peering.elsewhere.consul"), "certificate"),
        "far": (changed(ServerAddresses=[dead]), dead),
        "cut": (token[:40], "unexpected end of JSON input"),
    }
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = {name: pool.submit(establish, name, value) for name, (value, words) in tries.items()}
    for name, (value, words) in tries.items():
        answer = answers[name].result()
        assert answer.status != 200 and words in answer.text, (name, answer)
    own = agent.api("POST", "/v1/peering/token", {"PeerName": "myself"}).json()["PeeringToken"]
    mine = establish("mine", own)
    assert mine.status != 200 and "cannot create a peering within the same cluster" in mine.text, mine
    agent.api("DELETE", "/v1/peering/myself")
    assert acceptor.get("/v1/peering/buyer")["State"] == "PENDING", "an attempt has used the token up"

    buyer = lab.agent("dc3")
    buyer.api("POST", "/v1/peering/establish", {"PeerName": "seller", "PeeringToken": token})
    again = establish("again", token)
    assert again.status != 200 and "secret" in again.text, again
    wait_for(lambda: buyer.get("/v1/peering/seller")["State"] == "ACTIVE", "the one that came first to stay")


# ---- the agent's own files ----

def start(folder, text, *arguments):
    path = folder / "agent.hcl"
    path.write_text(text)
    return run([PONS, "agent", "-dev", f"-config-file={path}", *arguments], timeout=20)


def test_a_bad_configuration_lists_every_error(tmp_path):
    """One error at a time makes an operator start the agent ten times."""
    done = start(tmp_path, """
        datacenter = "DC One"
        ports { http = 99999 }
        default_intention_policy = "maybe"
        config_entries { bootstrap = [{ kind = "nonsense", name = "x" }] }
        acl { enabled = true }
        connect { ca_config { leaf_cert_ttl = "10s" } }
        """)
    assert done.returncode == 1
    for words in ("datacenter", "ports.http: 99999", "default_intention_policy", "nonsense", "acl.enabled",
                  "leaf_cert_ttl"):
        assert words in done.stderr, done.stderr


def test_a_syntax_error_has_line_and_column(tmp_path):
    """Files have hundreds of lines."""
    done = start(tmp_path, 'node_name = "n"\nports {\n  http = = 5\n}\n')
    assert done.returncode == 1
    assert "agent.hcl:3:10: expected a value" in done.stderr


def test_an_unknown_key_is_named(tmp_path):
    """A mistyped key that is skipped would leave the operator with a setting that never was."""
    done = start(tmp_path, 'datacentre = "dc1"\nnode_nmae = "n"\n')
    assert done.returncode == 1
    assert 'unknown key "datacentre"' in done.stderr and 'unknown key "node_nmae"' in done.stderr


def test_a_bad_service_definition_stops_the_start(tmp_path):
    """An agent that runs without a service of its files looks healthy and is not."""
    ports = "\n".join(f"{name} = {free_port()}" for name in ("http", "grpc", "grpc_tls", "server"))
    done = start(tmp_path, f"ports {{\n{ports}\n}}\nservice {{ port = 5 }}\n")
    assert done.returncode == 1 and "Missing service name" in done.stderr


def test_a_port_in_use_is_named(agent, tmp_path):
    """The commonest failure of all: the message has to say which port, and what to do."""
    ports = "\n".join(f"{name} = {port}" for name, port in agent.ports.items())
    done = start(tmp_path, f"ports {{\n{ports}\n}}\n")
    assert done.returncode == 1
    for name in ("http", "grpc", "grpc_tls"):
        assert f"127.0.0.1:{agent.ports[name]}: address already in use" in done.stderr


def test_a_server_wants_a_data_dir():
    """State in an unexpected place is lost at the next start."""
    done = run([PONS, "agent", "-server", "-bind=127.0.0.1"])
    assert done.returncode == 1 and "data_dir" in done.stderr


# ---- files and flags of the command line ----

def write(folder, text):
    path = folder / "input.hcl"
    path.write_text(text)
    return str(path)


FILES = {
    "syntax": ("config write", 'Kind = "service-defaults"\nName = = 5\n', "input.hcl:2:8: expected a value"),
    "kind": ("config write", 'Kind = "nonsense"\nName = "x"\n', "invalid config entry kind: nonsense"),
    "key": ("config write", 'Kind = "service-defaults"\nName = "x"\nProtocool = "http"\n', 'unknown key "Protocool"'),
    "service syntax": ("services register", "service {\n  name = \n}\n", "input.hcl:"),
    "service key": ("services register", 'service {\n  name = "x"\n  prot = 5\n}\n', 'unknown key "prot"'),
    "upstream": ("services register", 'service {\n name = "x"\n connect { sidecar_service { proxy { upstreams {\n'
                 " local_bind_port = 5\n } } } }\n}\n", "upstream destination name cannot be empty"),
}


@pytest.mark.parametrize("case", FILES)
def test_bad_files_are_refused(agent, tmp_path, case):
    """The same words as from the API, and the file's name with them."""
    command, text, words = FILES[case]
    done = agent.cli(*command.split(), write(tmp_path, text), check=False)
    assert done.returncode == 1 and words in done.stderr, done


ENVOY_FAULTS = {
    "no Envoy": (["-sidecar-for=web"], {"PATH": "/nonexistent"}, "no envoy on PATH"),
    "not there": (["-sidecar-for=web", "-envoy-binary=/nonexistent"], {}, "-envoy-binary /nonexistent: No such file"),
    "not an Envoy": (["-sidecar-for=web", "-envoy-binary=/bin/ls"], {}, "is it an Envoy?"),
    "no sidecar": (["-sidecar-for=nope"], {}, "No sidecar proxy registered for nope"),
    "no gateway": (["-gateway=mesh"], {}, "No mesh-gateway services registered"),
    "nothing asked": ([], {}, "One of -proxy-id, -sidecar-for, or -gateway is required"),
    "address of others": (["-gateway=mesh", "-register", "-address=192.0.2.1:8443"], {}, "will not be bindable"),
}


@pytest.mark.parametrize("case", ENVOY_FAULTS)
def test_connect_envoy_says_what_is_missing(agent, case):
    """The message must come from us in words, not from Envoy's loader or a shell."""
    arguments, env, words = ENVOY_FAULTS[case]
    done = run([PONS, "connect", "envoy", *arguments], env={**agent.env(), **env})
    assert done.returncode == 1 and words in done.stderr, done


def test_connect_envoy_to_a_tls_port_without_a_ca(agent):
    """Envoy would say "DataSource cannot be empty", and nobody knows which."""
    done = run([PONS, "connect", "envoy", "-sidecar-for=web", "-bootstrap",
                f"-grpc-addr=https://127.0.0.1:{agent.ports['grpc_tls']}"], env=agent.env())
    assert done.returncode == 1
    assert "speaks TLS" in done.stderr and "-grpc-ca-file" in done.stderr


def test_no_agent_there():
    """The first thing that goes wrong for a beginner."""
    done = run([PONS, "members"], env={"CONSUL_HTTP_ADDR": f"127.0.0.1:{free_port()}"})
    assert done.returncode == 1 and "connection refused" in done.stderr
