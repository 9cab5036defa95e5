"""Connections that stay open for long: databases, queues, watches. Changes that do not concern them must not cut them."""
import socket

from harness import KeptAlive, add_service, free_port, intend, tcp_call, wait_for
from pair import HERE


class Line:
    """A TCP connection that stays open from line to line."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), 5)
        self.reader = self.connection.makefile("rb")

    def say(self, line):
        self.connection.sendall(line.encode() + b"\n")
        return self.reader.readline().decode().strip()

    def close(self):
        self.reader.close()
        self.connection.close()


def test_changes_elsewhere_cut_nothing(pair):
    """Every deployment of anybody would be an outage for who holds connections."""
    http, tcp = KeptAlive(pair.http_port), Line(pair.tcp_port)

    def both_live(after):
        assert http.call() == 200, after
        assert tcp.say(after) == f"echo: {after}"
    both_live("start")
    pair.dc2.register({"Name": "stranger", "Port": 1, "Connect": {"SidecarService": {"Port": free_port()}}})
    pair.export("backend", "echo", "stranger")
    wait_for(lambda: pair.seen("stranger"), "the new export to arrive")
    both_live("an export of another service")
    pair.dc1.register({"Name": "neighbour", "Port": 1, "Connect": {"SidecarService": {"Port": free_port()}}})
    intend(pair.dc2, "stranger", "frontend", HERE)
    pair.dc2.config_entry({"Kind": "service-defaults", "Name": "stranger", "Protocol": "http"})
    wait_for(lambda: "stranger" in pair.gateway2.admin("/clusters").text, "the gateway to serve the other one")
    both_live("a change of another service's protocol")

    definition = pair.frontend.definition
    proxy = definition["Connect"]["SidecarService"]["Proxy"]
    more = free_port()
    proxy["Upstreams"].append(pair.upstream("stranger", more))
    pair.dc1.register(definition)
    wait_for(lambda: f":{more}" in pair.frontend.admin("/listeners").text, "the new upstream")
    both_live("a new upstream of the same proxy")
    proxy["Upstreams"].pop()
    pair.dc1.register(definition)
    wait_for(lambda: f":{more}" not in pair.frontend.admin("/listeners").text, "the upstream to go")
    both_live("the end of that upstream")

    pair.export("backend", "echo")
    pair.dc2.api("DELETE", "/v1/config/service-defaults/stranger")
    pair.dc2.api("DELETE", "/v1/config/service-intentions/stranger")
    pair.dc2.put("/v1/agent/service/deregister/stranger")
    pair.dc1.put("/v1/agent/service/deregister/neighbour")
    wait_for(lambda: "stranger" not in pair.gateway2.admin("/clusters").text, "the gateway to forget the other one")
    both_live("the end of the other service")
    for agent in (pair.dc1, pair.dc2):
        agent.restart()
    wait_for(pair.is_peered, "the peering to be active")
    pair.allow("backend", "echo")
    both_live("kills of both agents")
    http.close()
    tcp.close()


def test_a_dev_agent_that_was_restarted(lab, envoys):
    """In -dev the state is lost with the process, and that is all: proxies keep what they have, and follow the
    new cluster once their services are registered again."""
    agent = lab.agent("dc1")
    echo, port = lab.echo_service("echo"), free_port()
    far = add_service(agent, "echo", echo.port)
    near = add_service(agent, "frontend", free_port(), [{"DestinationName": "echo", "LocalBindPort": port}])
    wait_for(lambda: tcp_call(port) == "echo: ping", "the call")
    line = Line(port)
    domain = agent.trust_domain()
    agent.restart()
    assert agent.get("/v1/agent/services") == {} and agent.trust_domain() != domain
    assert line.say("still") == "echo: still"
    assert tcp_call(port) == "echo: ping"

    def connected(envoy):
        return "connected_state: 1" in envoy.admin("/stats?filter=control_plane.connected_state").text
    for envoy in (near, far):
        wait_for(lambda: connected(envoy), f"{envoy.name} to reach the new agent")
    assert tcp_call(port) == "echo: ping", "an agent that knows nothing has emptied the proxies"
    for envoy in (near, far):
        agent.register(envoy.definition)
    wait_for(lambda: agent.trust_domain() in near.admin("/certs").text and
             agent.trust_domain() in far.admin("/certs").text, "certificates of the new authority")
    wait_for(lambda: tcp_call(port) == "echo: ping", "the call within the new cluster")
    agent.config_entry({"Kind": "service-intentions", "Name": "echo", "Sources": [
        {"Name": "frontend", "Action": "deny"}]})
    wait_for(lambda: tcp_call(port) == "", "the new cluster's intentions to be in force")
    line.close()
