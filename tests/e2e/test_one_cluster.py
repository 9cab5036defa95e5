"""One cluster: services call each other through their sidecars, and intentions decide."""
import pytest

from harness import (KeptAlive, add_service, find_envoy, free_port, intend, request, status_of, tcp_call,
                     wait_for)


class Cluster:
    def __init__(self, lab):
        self.lab = lab
        self.agent = agent = lab.agent("dc1", config='default_intention_policy = "deny"')
        backend, echo = lab.http_service("backend"), lab.echo_service("echo")
        agent.config_entry({"Kind": "service-defaults", "Name": "backend", "Protocol": "http"})
        add_service(agent, "backend", backend.port)
        add_service(agent, "echo", echo.port)
        self.backend_port, self.echo_port = free_port(), free_port()
        self.frontend = add_service(agent, "frontend", free_port(), [
            {"DestinationName": "backend", "LocalBindPort": self.backend_port},
            {"DestinationName": "echo", "LocalBindPort": self.echo_port}])
        self.frontend.wait_listener("backend:")
        self.frontend.wait_listener("echo:")

    def forget_intentions(self):
        for destination in ("backend", "echo"):
            self.agent.api("DELETE", f"/v1/config/service-intentions/{destination}")
        wait_for(lambda: status_of(self.backend_port) == 403, "backend to refuse without an intention")
        wait_for(lambda: tcp_call(self.echo_port) == "", "echo to refuse without an intention")


@pytest.fixture(scope="module")
def shared(module_lab, envoys):
    return Cluster(module_lab)


@pytest.fixture
def cluster(shared):
    shared.forget_intentions()
    return shared


def test_nobody_calls_before_an_intention_allows_it(cluster):
    """Otherwise default deny would mean nothing: any workload with a sidecar could call any other."""
    assert status_of(cluster.backend_port) == 403
    assert tcp_call(cluster.echo_port) == ""


def test_an_intention_lets_the_call_pass(cluster):
    """The product's first promise: an HTTP and a TCP call arrive as soon as they are allowed."""
    intend(cluster.agent, "backend", "frontend")
    intend(cluster.agent, "echo", "frontend")
    wait_for(lambda: status_of(cluster.backend_port) == 200, "backend to answer")
    wait_for(lambda: tcp_call(cluster.echo_port) == "echo: ping", "echo to answer")


def test_an_intention_for_another_source_is_not_mine(cluster):
    """Identity is the certificate's: what is allowed to others must not open the door to frontend."""
    intend(cluster.agent, "backend", "someone-else")
    intend(cluster.agent, "echo", "*")
    wait_for(lambda: tcp_call(cluster.echo_port) == "echo: ping", "echo to let all in")
    assert status_of(cluster.backend_port) == 403


def test_an_intention_reaches_open_http_connections(cluster):
    """Clients keep connections open for hours; a denied caller must not go on over an old one."""
    intend(cluster.agent, "backend", "frontend")
    wait_for(lambda: status_of(cluster.backend_port) == 200, "backend to answer")
    client = KeptAlive(cluster.backend_port)
    assert client.call() == 200
    intend(cluster.agent, "backend", "frontend", action="deny")
    wait_for(lambda: client.call() == 403, "the open connection to be refused")
    intend(cluster.agent, "backend", "frontend")
    wait_for(lambda: client.call() == 200, "the open connection to be let through again")
    client.close()


def test_intentions_by_the_command_line(cluster):
    """Operators allow calls with `intention create`; it has to reach the proxies like a config entry."""
    cluster.agent.cli("intention", "create", "-allow", "frontend", "backend")
    wait_for(lambda: status_of(cluster.backend_port) == 200, "backend to answer")
    assert "Allowed" in cluster.agent.cli("intention", "check", "frontend", "backend").stdout
    cluster.agent.cli("intention", "delete", "frontend", "backend")
    wait_for(lambda: status_of(cluster.backend_port) == 403, "backend to refuse")
    denied = cluster.agent.cli("intention", "check", "frontend", "backend", check=False)
    assert denied.returncode == 1 and "Denied" in denied.stdout


def test_the_service_sees_who_calls(cluster):
    """Applications that authorise by X-Forwarded-Client-Cert would be blind or could be lied to."""
    intend(cluster.agent, "backend", "frontend")
    wait_for(lambda: status_of(cluster.backend_port) == 200, "backend to answer")
    backend = next(service for service in cluster.lab.services if service.name == "backend")
    seen = backend.seen[-1]
    header = next(value for name, value in seen.items() if name.lower() == "x-forwarded-client-cert")
    domain = cluster.agent.trust_domain()
    assert f"URI=spiffe://{domain}/ns/default/dc/dc1/svc/frontend" in header


def test_a_proxy_that_is_registered_after_envoy_connects(cluster, lab):
    """Schedulers start containers in any order; an Envoy that came first must not stay empty for ever."""
    agent, port, admin_port = cluster.agent, free_port(), free_port()
    service = lab.echo_service("late")
    definition = {
        "Name": "late", "Port": service.port, "Address": "127.0.0.1",
        "Connect": {"SidecarService": {"Port": free_port(), "Proxy": {"Upstreams": [
            {"DestinationName": "echo", "LocalBindPort": port}]}}}}
    agent.register(definition)
    bootstrap = lab.folder / "late.json"
    bootstrap.write_text(agent.cli("connect", "envoy", "-sidecar-for=late", "-bootstrap",
                                   f"-admin-bind=127.0.0.1:{admin_port}").stdout)
    agent.put("/v1/agent/service/deregister/late")
    lab.process("envoy late", [find_envoy(), "-c", str(bootstrap), "--disable-hot-restart",
                               "--concurrency", "1", "-l", "warning"])

    def connected():
        stats = request("GET", f"http://127.0.0.1:{admin_port}/stats?filter=control_plane.connected_state")
        return "connected_state: 1" in stats.text
    wait_for(connected, "Envoy to reach the agent")
    agent.register(definition)
    intend(agent, "echo", "late")
    wait_for(lambda: tcp_call(port) == "echo: ping", "the late service's call")
    agent.put("/v1/agent/service/deregister/late")


def test_a_second_instance_shares_the_calls(cluster):
    """A second instance takes half of the calls and gives them back when it goes."""
    agent, lab = cluster.agent, cluster.lab
    intend(agent, "echo", "frontend")
    second = lab.echo_service("echo-2")
    add_service(agent, "echo", second.port, instance="echo-2")
    wait_for(lambda: tcp_call(cluster.echo_port) == "echo-2: ping", "the second instance to be called")
    agent.put("/v1/agent/service/deregister/echo-2")
    health = agent.get("/v1/health/connect/echo")
    assert [entry["Service"]["ID"] for entry in health] == ["echo-sidecar-proxy"]
    wait_for(lambda: all(tcp_call(cluster.echo_port) == "echo: ping" for _ in range(8)),
             "only the first to be called")
