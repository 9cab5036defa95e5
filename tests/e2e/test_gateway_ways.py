"""The ways to a service of a peer: by several gateways on each side, by names, by IPv6, through the near gateway."""
import socket

import pytest

from harness import Envoy, export, free_port, intend, peer, wait_for


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def call(port, host="127.0.0.1"):
    try:
        with socket.create_connection((host, port), 5) as connection:
            connection.sendall(b"ping\n")
            return connection.makefile("rb").readline().decode().strip()
    except (ConnectionError, socket.timeout):
        return ""


class Sides:
    """`frontend` at the near side calls `echo` at the far side."""

    def __init__(self, lab, host="127.0.0.1"):
        self.host = host
        self.near, self.far = (lab.agent(name, config='default_intention_policy = "deny"') for name in ("dc1", "dc2"))

    def gateway(self, agent, number, wan, bind=None):
        """With a LAN address of this host, and a WAN address that is `wan` with a port of its own."""
        lan, port = free_port(), free_port()
        bind = bind or self.host
        gateway = Envoy(agent, f"gateway {number} {agent.datacenter}", [
            "-gateway=mesh", "-register", f"-proxy-id=gateway-{number}", f"-address={bracketed(bind)}:{lan}",
            f"-wan-address={bracketed(wan)}:{port}", f"-bind-address=lan={bracketed(bind)}:{lan}",
            f"-bind-address=wan={bracketed(bind)}:{port}"])
        gateway.lan, gateway.wan = lan, port
        return gateway

    def connect(self, echo_port, mode="remote"):
        self.local = free_port()
        self.register(self.far, "echo", echo_port)
        self.frontend = self.register(self.near, "frontend", free_port(), [{
            "DestinationName": "echo", "DestinationPeer": "far", "LocalBindPort": self.local, "LocalBindAddress": self.host,
            "MeshGateway": {"Mode": mode}}])
        export(self.far, ["echo"], ["near"])
        intend(self.far, "echo", "frontend", "near")
        peer(self.far, self.near, "near", "far")
        self.wait_calls()

    def register(self, agent, name, port, upstreams=()):
        agent.register({"Name": name, "Port": port, "Address": self.host, "Connect": {"SidecarService": {
            "Port": free_port(), "Address": self.host, "Proxy": {
                "LocalServiceAddress": self.host, "Upstreams": list(upstreams), "Config": {"bind_address": self.host}}}}})
        return Envoy(agent, f"{name} sidecar", [f"-sidecar-for={name}"])

    def calls(self):
        return call(self.local, self.host)

    def wait_calls(self, what="the call to pass"):
        wait_for(lambda: all(self.calls() == "echo: ping" for _ in range(10)), what)

    def knows(self, *ports):
        """Whether the source's Envoy has exactly these ports of gateways."""
        hosts = {line.split("::cx_total::")[0] for line in self.frontend.admin("/clusters").text.splitlines()
                 if line.startswith("echo.") and "::cx_total::" in line}
        return {int(host.rsplit(":", 1)[1]) for host in hosts} == set(ports)


def bracketed(host):
    return f"[{host}]" if ":" in host else host


def test_two_gateways_with_names(lab, envoys):
    """Gateways behind load balancers have names, each its own: calls go on by the one that is left."""
    sides = Sides(lab)
    one, two = sides.gateway(sides.far, 1, "one.localhost"), sides.gateway(sides.far, 2, "two.localhost")
    sides.connect(lab.echo_service("echo").port)
    wait_for(lambda: sides.knows(one.wan, two.wan), "both names to be known")
    one.process.stop(9)
    sides.wait_calls("all calls to go by the second")
    one.process.start()
    one.wait_listener("")
    two.process.stop(9)
    sides.wait_calls("all calls to go by the first")


def test_a_name_beside_an_address(lab, envoys):
    """While a site moves from addresses to names, both kinds of gateway serve."""
    sides = Sides(lab)
    named, plain = sides.gateway(sides.far, 1, "one.localhost"), sides.gateway(sides.far, 2, "127.0.0.1")
    sides.connect(lab.echo_service("echo").port)
    wait_for(lambda: sides.knows(named.wan, plain.wan), "both to be known")
    named.process.stop(9)
    sides.wait_calls("all calls to go by the address")


@pytest.mark.parametrize("wan", ["127.0.0.1", "near-and-far.localhost"])
def test_local_mode_by_two_gateways_of_each_side(lab, envoys, wan):
    """Sidecars without a way out go by the near gateways, on their LAN addresses; any of them may die, and any far one."""
    sides = Sides(lab)
    near = [sides.gateway(sides.near, number, "192.0.2.1") for number in (1, 2)]
    far = [sides.gateway(sides.far, number, wan) for number in (1, 2)]
    sides.connect(lab.echo_service("echo").port, "local")
    wait_for(lambda: sides.knows(near[0].lan, near[1].lan), "the LAN addresses of the near gateways")
    near[0].process.stop(9)
    sides.wait_calls("all calls to go by the second near gateway")
    far[1].process.stop(9)
    sides.wait_calls("all calls to go by the first far gateway")


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
@pytest.mark.parametrize("mode", ["remote", "local"])
def test_ipv6_all_the_way(lab, envoys, mode):
    """Sidecars, services and gateways of a network that has nothing but IPv6."""
    sides = Sides(lab, "::1")
    sides.gateway(sides.near, 1, "::1")
    far = sides.gateway(sides.far, 1, "::1")
    sides.connect(lab.echo_service("echo", host="::1").port, mode)
    if mode == "remote":
        assert sides.knows(far.wan)
