"""Intentions with permissions: who may make which HTTP request, in one cluster and from a peer; and what a denied
caller's open TCP connection has left."""
import json
import time

import pytest

from harness import KeptAlive, add_service, free_port, intend, request, tcp_call, wait_for
from pair import HERE, Pair
from test_long_connections import Line


def rule(action, **http):
    return {"Action": action, "HTTP": http}


class Caller:
    """Makes requests at one upstream port."""

    def __init__(self, port):
        self.port = port

    def __call__(self, path="/", method="GET", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return request(method, f"http://127.0.0.1:{self.port}{path}", headers=headers).status


class Cluster:
    """`api` (HTTP) and `echo` (TCP), and `web` that calls both; each case writes the intentions."""

    def __init__(self, lab, default):
        self.agent = agent = lab.agent("dc1", config=f'default_intention_policy = "{default}"')
        agent.config_entry({"Kind": "service-defaults", "Name": "api", "Protocol": "http"})
        add_service(agent, "api", lab.http_service("api").port)
        add_service(agent, "echo", lab.echo_service("echo").port)
        self.http_port, self.tcp_port = free_port(), free_port()
        add_service(agent, "web", free_port(), [
            {"DestinationName": "api", "LocalBindPort": self.http_port},
            {"DestinationName": "echo", "LocalBindPort": self.tcp_port}]).wait_listener("echo:")
        self.call = Caller(self.http_port)

    def permit(self, *permissions):
        write(self.agent, "api", {"Name": "web", "Permissions": list(permissions)})


def write(agent, name, *sources):
    agent.config_entry({"Kind": "service-intentions", "Name": name, "Sources": list(sources)})


@pytest.fixture(scope="module")
def deny(module_lab, envoys):
    return Cluster(module_lab, "deny")


def test_path_method_and_header_decide(deny):
    """Otherwise an allowed caller may do everything: read where it should only read, and delete."""
    call = deny.call
    deny.permit(rule("allow", PathPrefix="/v1/", Methods=["GET", "HEAD"]),
                rule("allow", PathExact="/admin", Header=[{"Name": "x-role", "Exact": "ADMIN", "IgnoreCase": True}]),
                rule("allow", PathRegex="/item/[0-9]+", Header=[{"Name": "x-debug", "Present": True, "Invert": True}]))
    wait_for(lambda: call("/v1/x") == 200, "the permission to apply")
    assert [call("/v1/x", "HEAD"), call("/v1/x", "DELETE"), call("/v2")] == [200, 403, 403]
    assert [call("/admin"), call("/admin", x_role="user"), call("/admin", x_role="admin"),
            call("/admin", "POST", x_role="admin"), call("/admin/x", x_role="admin")] == [403, 403, 200, 200, 403]
    assert [call("/item/12"), call("/item/12", x_debug="1"), call("/item/x")] == [200, 403, 403]
    assert [call("/v1/../secret"), call("/v1/%2e%2e/secret")] == [403, 403], "a path that only looks permitted"


def test_the_first_permission_that_matches_decides(deny):
    """A deny in front of a wider allow must hold, and one behind it must not."""
    call = deny.call
    deny.permit(rule("deny", PathPrefix="/private"), rule("allow", PathPrefix="/"))
    wait_for(lambda: call("/public") == 200, "the permission to apply")
    assert [call("/private"), call("/private/x", "DELETE")] == [403, 403]
    deny.permit(rule("allow", PathPrefix="/"), rule("deny", PathPrefix="/private"))
    wait_for(lambda: call("/private") == 200, "the order to change")


def test_the_exact_source_decides_alone(deny):
    """What `web` is not permitted must not come back to it by what everybody is allowed."""
    write(deny.agent, "api", {"Name": "*", "Action": "allow"},
          {"Name": "web", "Permissions": [rule("allow", PathExact="/own")]})
    wait_for(lambda: deny.call("/own") == 200 and deny.call("/other") == 403, "web's own permissions to decide")


def test_a_change_applies_to_open_connections(deny):
    """A permission that is taken away must not live on in the connections that a caller keeps."""
    deny.permit(rule("allow", PathPrefix="/"))
    wait_for(lambda: deny.call("/a") == 200, "the permission to apply")
    kept = KeptAlive(deny.http_port)
    assert [kept.call("/a"), kept.call("/b")] == [200, 200]
    deny.permit(rule("deny", PathPrefix="/a"), rule("allow", PathPrefix="/"))
    wait_for(lambda: kept.call("/a") == 403, "the next request to be refused")
    assert kept.call("/b") == 200
    kept.close()


def test_permissions_need_http(deny):
    """Rules on requests that nobody can see would be a promise that is not kept."""
    agent = deny.agent
    refused = agent.api("PUT", "/v1/config", {"Kind": "service-intentions", "Name": "echo", "Sources": [
        {"Name": "web", "Permissions": [rule("allow", PathPrefix="/")]}]}, ok=False)
    assert (refused.status, "incompatible with L7 intentions" in refused.text) == (500, True)
    deny.permit(rule("allow", PathPrefix="/"))
    for method, path, body in (("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "api", "Protocol": "tcp"}),
                               ("DELETE", "/v1/config/service-defaults/api", None)):
        refused = agent.api(method, path, body, ok=False)
        assert (refused.status, "incompatible with L7 intentions" in refused.text) == (500, True)


def test_the_command_line_shows_permissions(deny, tmp_path):
    """Who looks up an intention must see what it permits."""
    deny.permit(rule("allow", PathExact="/x"))
    shown = deny.agent.cli("intention", "get", "web", "api")
    assert 'Permissions:\n[\n  {\n    "Action": "allow",\n    "HTTP": {\n      "PathExact": "/x"\n' in shown.stdout
    assert deny.agent.cli("intention", "match", "api").stdout == "web => api (1 permission)\n"
    checked = deny.agent.cli("intention", "check", "web", "api", check=False)
    assert (checked.stdout, checked.returncode) == ("Denied\n", 1)
    file = tmp_path / "intention.json"
    file.write_text(json.dumps({"SourceName": "other", "DestinationName": "api",
                                "Permissions": [rule("deny", PathExact="/x")]}))
    made = deny.agent.cli("intention", "create", "-file", str(file))
    assert made.stdout == "Created: other => api (1 permission)\n"
    assert '"Action": "deny"' in deny.agent.cli("intention", "get", "other", "api").stdout


def test_an_open_tcp_connection_of_a_denied_caller_ends(deny):
    """A caller that is shut out must not go on for as long as it keeps its connection: 10 s and no more."""
    intend(deny.agent, "echo", "web")
    wait_for(lambda: tcp_call(deny.tcp_port) == "echo: ping", "echo to answer")
    line = Line(deny.tcp_port)
    assert line.say("open") == "echo: open"
    deny.agent.api("DELETE", "/v1/config/service-intentions/echo")
    wait_for(lambda: tcp_call(deny.tcp_port) == "", "new connections to be refused")
    denied = time.monotonic()

    def ended():
        try:
            return line.say("still there") == ""
        except OSError:
            return True
    wait_for(ended, "the open connection to end", timeout=20)
    assert time.monotonic() - denied < 15
    line.close()


def test_an_allow_under_default_allow_is_warned_about(lab, envoys, tmp_path):
    """It reads as if nothing else could pass, and everything else does."""
    cluster = Cluster(lab, "allow")
    entry = tmp_path / "api.hcl"
    entry.write_text('Kind = "service-intentions"\nName = "api"\nSources = [{ Name = "web", Permissions = [\n'
                     '  { Action = "allow", HTTP = { PathExact = "/x" } }] }]\n')
    written = cluster.agent.cli("config", "write", str(entry))
    assert 'Warning: source "web": requests that none of its Permissions match are allowed' in written.stderr
    wait_for(lambda: cluster.call("/y") == 200, "what nothing forbids to pass")
    permissions = [rule("allow", PathExact="/x"), rule("deny", PathPrefix="/")]
    answer = cluster.agent.api("PUT", "/v1/connect/intentions/exact?source=web&destination=api",
                               {"Permissions": permissions})
    assert "x-pons-warning" not in {name.lower() for name in answer.headers.keys()}
    wait_for(lambda: cluster.call("/y") == 403, "the last permission to apply")
    assert cluster.call("/x") == 200


@pytest.fixture(scope="module")
def two(module_lab, envoys):
    return Pair(module_lab)


def test_permissions_of_a_peers_caller(two):
    """The owner of a service says what a caller in another cluster may do with it."""
    call = Caller(two.http_port)
    write(two.dc2, "backend", {"Name": "frontend", "Peer": HERE, "Permissions": [
        rule("deny", PathPrefix="/private"), rule("allow", PathPrefix="/", Methods=["GET"]),
        rule("allow", PathExact="/post", Header=[{"Name": "x-key", "Prefix": "k-"}])]})
    wait_for(lambda: call("/", "DELETE") == 403, "the permissions to apply")
    assert [call("/"), call("/private"), call("/post", "POST"), call("/post", "POST", x_key="k-1"),
            call("/private", "POST", x_key="k-1")] == [200, 403, 403, 200, 403]
    kept = KeptAlive(two.http_port)
    assert kept.call("/") == 200
    write(two.dc2, "backend", {"Name": "frontend", "Peer": HERE, "Permissions": [rule("allow", PathExact="/x")]})
    wait_for(lambda: kept.call("/") == 403, "the next request of an open connection to be refused")
    assert kept.call("/x") == 200
    kept.close()


def test_any_peer(two):
    """One rule for every peer there is, which one by name comes before."""
    call = Caller(two.http_port)
    write(two.dc2, "backend", {"Name": "frontend", "Peer": "*", "Action": "allow"})
    wait_for(lambda: call("/") == 200, "callers of every peer to be allowed")
    assert two.dc2.cli("intention", "check", f"peer:{HERE}/frontend", "backend").stdout == "Allowed\n"
    write(two.dc2, "backend", {"Name": "frontend", "Peer": "*", "Action": "allow"},
          {"Name": "frontend", "Peer": HERE, "Action": "deny"})
    wait_for(lambda: call("/") == 403, "the peer by name to be denied")
    write(two.dc2, "echo", {"Name": "*", "Peer": "*", "Action": "allow"})
    wait_for(lambda: tcp_call(two.tcp_port) == "echo: ping", "echo to answer")
