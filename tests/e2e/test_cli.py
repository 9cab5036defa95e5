"""The command line, as scripts and people use Consul's."""
import json

import pytest

from harness import PONS, find_envoy, free_port, run, wait_for


@pytest.fixture(scope="module")
def agent(module_lab):
    return module_lab.agent("dc1", config='default_intention_policy = "deny"')


@pytest.fixture(scope="module")
def consul(module_lab):
    """The same binary under the other name."""
    link = module_lab.folder / "consul"
    link.symlink_to(PONS)
    return str(link)


def rows(text):
    """A table's lines as lists of words."""
    return [line.split() for line in text.strip().splitlines()]


def write(folder, name, text):
    (folder / name).write_text(text)
    return str(folder / name)


# ---- services ----

def test_services_register_and_deregister(agent, tmp_path):
    """Deployment scripts register from files and flags, and read what was said."""
    file = write(tmp_path, "web.hcl", """
        service {
          id = "web-1"
          name = "web"
          port = 8080
          tags = ["v1"]
          check { id = "web-ttl" ttl = "1h" status = "passing" }
        }""")
    assert agent.cli("services", "register", file).stdout == "Registered service: web\n"
    service = agent.get("/v1/agent/service/web-1")
    assert (service["Port"], service["Tags"]) == (8080, ["v1"])
    assert agent.cli("services", "register", "-name=web2", "-id=web2-1", "-port=8082", "-address=127.2.0.4",
                     "-tag=a", "-tag=b", "-meta=k=v").stdout == "Registered service: web2\n"
    service = agent.get("/v1/agent/service/web2-1")
    assert (service["Address"], service["Port"], service["Tags"], service["Meta"]) == \
        ("127.2.0.4", 8082, ["a", "b"], {"k": "v"})
    assert agent.cli("services", "deregister", "-id=web2-1").stdout == "Deregistered service: web2-1\n"
    assert agent.cli("services", "deregister", file).stdout == "Deregistered service: web-1\n"
    assert set(agent.get("/v1/agent/services")) == set()
    again = agent.cli("services", "deregister", "-id=web2-1", check=False)
    assert again.returncode == 1 and "web2-1" in again.stderr


def test_services_of_json_files_and_lists(agent, tmp_path):
    """Generated definitions are JSON, and one file may hold many."""
    file = write(tmp_path, "many.json", json.dumps({"services": [
        {"name": "one", "port": 1}, {"Name": "two", "Port": 2, "Connect": {"SidecarService": {}}}]}))
    assert agent.cli("services", "register", file).stdout == "Registered service: one\nRegistered service: two\n"
    assert set(agent.get("/v1/agent/services")) == {"one", "two", "two-sidecar-proxy"}
    agent.cli("services", "deregister", file)
    assert agent.get("/v1/agent/services") == {}


def test_services_export(agent):
    """One command instead of editing the one entry that holds all exports."""
    done = agent.cli("services", "export", "-name=web", "-consumer-peers=cluster-01")
    assert done.stdout == 'Successfully exported service "web" to cluster peers "cluster-01"\n'
    agent.cli("services", "export", "-name=db", "-consumer-peers=cluster-01,cluster-02")
    entry = agent.get("/v1/config/exported-services/default")
    assert {service["Name"]: [consumer["Peer"] for consumer in service["Consumers"]]
            for service in entry["Services"]} == {"web": ["cluster-01"], "db": ["cluster-01", "cluster-02"]}
    agent.cli("config", "delete", "-kind=exported-services", "-name=default")


# ---- config entries ----

def test_config_write_read_list_delete(agent, tmp_path):
    """The round trip that every operator's repository relies on."""
    file = write(tmp_path, "defaults.hcl", 'Kind = "service-defaults"\nName = "clitest"\nProtocol = "http"\n')
    assert agent.cli("config", "write", file).stdout == "Config entry written: service-defaults/clitest\n"
    read = agent.cli("config", "read", "-kind", "service-defaults", "-name", "clitest").stdout
    assert json.loads(read)["Protocol"] == "http"
    assert agent.cli("config", "list", "-kind", "service-defaults").stdout == "clitest\n"
    # What was read can be written back.
    assert agent.cli("config", "write", "-", stdin=read).returncode == 0
    index = json.loads(read)["ModifyIndex"]
    stale = agent.cli("config", "delete", "-kind=service-defaults", "-name=clitest", "-cas", "-modify-index=1",
                      check=False)
    assert stale.returncode == 1, stale
    assert agent.get("/v1/config/service-defaults/clitest")["ModifyIndex"] >= index
    assert agent.cli("config", "delete", "-kind", "service-defaults", "-name", "clitest").stdout == \
        "Config entry deleted: service-defaults/clitest\n"
    missing = agent.cli("config", "read", "-kind", "service-defaults", "-name", "clitest", check=False)
    assert missing.returncode == 1
    assert missing.stderr.strip() == ('Error reading config entry service-defaults/clitest: Unexpected response '
                                      'code: 404 (Config entry not found for "service-defaults" / "clitest")')
    nofile = agent.cli("config", "write", str(tmp_path / "nofile.hcl"), check=False)
    assert nofile.returncode == 1 and "no such file or directory" in nofile.stderr


# ---- intentions ----

def test_intentions(agent):
    """Who may call whom is decided here; the words are what runbooks look for."""
    assert agent.cli("intention", "create", "-allow", "foo", "bar").stdout == "Created: foo => bar (allow)\n"
    twice = agent.cli("intention", "create", "-allow", "foo", "bar", check=False)
    assert twice.returncode == 1 and 'Error creating intention "foo => bar (allow)"' in twice.stderr
    assert agent.cli("intention", "check", "foo", "bar").stdout == "Allowed\n"
    agent.cli("intention", "create", "-replace", "-deny", "foo", "bar")
    denied = agent.cli("intention", "check", "foo", "bar", check=False)
    assert (denied.returncode, denied.stdout) == (1, "Denied\n")
    listed = rows(agent.cli("intention", "list").stdout)
    assert listed[0] == ["ID", "Source", "Action", "Destination", "Precedence"]
    assert listed[1][1:] == ["foo", "deny", "bar", "9"]
    got = agent.cli("intention", "get", "foo", "bar").stdout
    assert ["Action:", "deny"] in rows(got)
    assert "foo" in agent.cli("intention", "match", "bar").stdout
    assert agent.cli("intention", "delete", "foo", "bar").stdout == "Intention deleted.\n"
    gone = agent.cli("intention", "get", "foo", "bar", check=False)
    assert gone.returncode == 1, gone


# ---- looking around ----

def test_members_and_catalog(agent):
    """The first commands of anybody who looks at a cluster."""
    table = rows(agent.cli("members").stdout)
    assert table[0] == ["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Partition", "Segment"]
    assert table[1][0] == "server-dc1" and table[1][2:4] == ["alive", "server"] and table[1][6] == "dc1"
    assert agent.cli("catalog", "datacenters").stdout == "dc1\n"
    assert rows(agent.cli("catalog", "nodes").stdout)[1][0] == "server-dc1"
    assert agent.cli("catalog", "services").stdout == "consul\n"
    agent.register({"Name": "tagged", "Tags": ["b", "a"], "Port": 1})
    assert rows(agent.cli("catalog", "services", "-tags").stdout)[-1][0] == "tagged"
    assert rows(agent.cli("catalog", "nodes", "-service=tagged").stdout)[1][0] == "server-dc1"
    agent.put("/v1/agent/service/deregister/tagged")
    assert "server" in agent.cli("info").stdout


def test_connect_ca(agent, tmp_path):
    """Auditors ask what the authority is set to."""
    config = json.loads(agent.cli("connect", "ca", "get-config").stdout)
    assert config["Provider"] == "consul" and config["Config"]["LeafCertTTL"] == "72h"
    config["Config"]["LeafCertTTL"] = "24h"
    file = write(tmp_path, "ca.json", json.dumps({"Provider": config["Provider"], "Config": config["Config"]}))
    agent.cli("connect", "ca", "set-config", f"-config-file={file}")
    assert json.loads(agent.cli("connect", "ca", "get-config").stdout)["Config"]["LeafCertTTL"] == "24h"


def test_validate(agent, tmp_path):
    """Continuous integration checks files before they are rolled out, in whatever mode they will run."""
    good = write(tmp_path, "good.hcl", 'datacenter = "dc1"\nports { http = 8500 }\n')
    done = run([PONS, "validate", good])
    assert (done.returncode, done.stdout) == (0, "Configuration is valid!\n"), done
    write(tmp_path, "more.hcl", 'datacenter = "DC 1"\n')
    done = run([PONS, "validate", str(tmp_path)])
    assert done.returncode == 1 and 'datacenter: "DC 1"' in done.stderr


# ---- peerings ----

def test_peering_commands(agent, lab):
    """Two operators who know Consul's commands must be able to peer with nothing but them."""
    other = lab.agent("dc2")
    noname = other.cli("peering", "generate-token", check=False)
    assert (noname.returncode, noname.stderr) == (1, "Missing the required -name flag\n")
    token = other.cli("peering", "generate-token", "-name=cluster-01").stdout.strip()
    assert rows(other.cli("peering", "list").stdout) == [
        ["Name", "State", "Imported", "Svcs", "Exported", "Svcs", "Meta"], ["cluster-01", "PENDING", "0", "0"]]
    done = agent.cli("peering", "establish", "-name=cluster-02", f"-peering-token={token}")
    assert "cluster-02" in done.stdout
    for cluster, name in ((agent, "cluster-02"), (other, "cluster-01")):
        wait_for(lambda: json.loads(cluster.cli("peering", "read", f"-name={name}", "-format=json").stdout)["State"]
                 == "ACTIVE", "ACTIVE by the command line")
    assert json.loads(agent.cli("peering", "list", "-format=json").stdout)[0]["Name"] == "cluster-02"
    read = rows(agent.cli("peering", "read", "-name=cluster-02").stdout)
    assert ["State:", "ACTIVE"] in read
    other.register({"Name": "web", "Port": 80})
    other.cli("services", "export", "-name=web", "-consumer-peers=cluster-01")
    wait_for(lambda: other.cli("peering", "exported-services", "-name=cluster-01").stdout == "web\n",
             "web to be listed as exported")
    assert rows(other.cli("services", "exported-services").stdout) == [
        ["Service", "Consumer", "Peers"], ["web", "cluster-01"]]
    assert json.loads(other.cli("services", "exported-services", "-format=json").stdout) == [
        {"Service": "web", "Consumers": {"Peers": ["cluster-01"]}}]
    wait_for(lambda: rows(agent.cli("peering", "list").stdout)[1] == ["cluster-02", "ACTIVE", "1", "0"],
             "the import to be counted")
    for cluster, name in ((agent, "cluster-02"), (other, "cluster-01")):
        assert cluster.cli("peering", "delete", f"-name={name}").stdout == \
            f"Successfully submitted peering connection, {name}, for deletion\n"
        wait_for(lambda: cluster.cli("peering", "read", f"-name={name}", check=False).stderr
                 == f"No peering with name {name} found.\n", "the peering to be gone")


# ---- connect envoy ----

def test_bootstrap_only(agent):
    """Orchestrators take the bootstrap and start Envoy themselves; it must be one that Envoy accepts."""
    agent.register({"Name": "boot", "Port": 80, "Connect": {"SidecarService": {}}})
    done = agent.cli("connect", "envoy", "-sidecar-for", "boot", "-bootstrap", "-admin-bind=127.0.0.1:19009")
    bootstrap = json.loads(done.stdout)
    assert bootstrap["node"]["id"] == "boot-sidecar-proxy" and bootstrap["node"]["cluster"] == "boot"
    assert bootstrap["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 19009}
    two_dashes = agent.cli("connect", "envoy", "--sidecar-for", "boot", "--bootstrap", "--admin-bind=127.0.0.1:19009")
    assert two_dashes.stdout == done.stdout
    agent.put("/v1/agent/service/deregister/boot")


def test_envoy_accepts_the_bootstrap(agent, envoys, tmp_path):
    """A bootstrap with a key that Envoy does not know would stop every proxy of a fleet."""
    agent.register({"Name": "boot", "Port": 80, "Connect": {"SidecarService": {"Proxy": {"Config": {
        "envoy_prometheus_bind_addr": f"127.0.0.1:{free_port()}", "envoy_stats_flush_interval": "5s"}}}}})
    file = write(tmp_path, "boot.json",
                 agent.cli("connect", "envoy", "-sidecar-for", "boot", "-bootstrap").stdout)
    done = run([find_envoy(), "--mode", "validate", "-c", file])
    assert done.returncode == 0, done.stderr
    agent.put("/v1/agent/service/deregister/boot")


# ---- being Consul ----

def test_started_as_consul(agent, consul):
    """Test harnesses and tools start `consul` and read its version."""
    version = json.loads(run([consul, "version", "-format=json"]).stdout)
    assert version["Version"] == "1.21.4" and version["Pons"]
    assert run([consul, "version"]).stdout.startswith("Consul v1.21.4\n")
    assert run([consul, "--version"]).stdout.startswith("Consul v1.21.4\n")
    assert run([PONS, "version"]).stdout.startswith("Pons v")
    assert agent.get("/v1/agent/self")["Config"]["Version"] == "1.21.4"
    assert run([consul, "members"], env=agent.env()).returncode == 0


def test_exit_codes(agent):
    """Scripts branch on them."""
    assert run([PONS, "bogus"]).returncode == 127
    assert run([PONS]).returncode == 127
    assert run([PONS, "--help"]).returncode == 0
    assert run([PONS, "agent", "-nosuchflag"]).returncode == 1
    assert agent.cli("members", "-nosuchflag", check=False).returncode == 1
    assert agent.cli("peering", check=False).returncode != 0
    assert agent.cli("config", "read", "-kind=service-defaults", check=False).returncode == 1


def test_where_the_agent_is(agent):
    """Flags win over the environment, and all usual spellings of an address work."""
    address = f"127.0.0.1:{agent.ports['http']}"
    wrong = {"CONSUL_HTTP_ADDR": f"127.0.0.1:{free_port()}"}
    for flag in (f"-http-addr={address}", f"-http-addr=http://{address}", f"--http-addr={address}"):
        assert run([PONS, "members", flag], env=wrong).returncode == 0, flag
    assert run([PONS, "members"], env={"CONSUL_HTTP_ADDR": f"http://{address}"}).returncode == 0
    assert run([PONS, "members"], env=wrong).returncode == 1


def test_reload_and_leave(lab):
    """How an agent is steered without signals."""
    agent = lab.agent("dc9")
    assert agent.cli("reload").returncode == 0
    assert agent.cli("leave").returncode == 0
    assert agent.process.wait_end() == 0
