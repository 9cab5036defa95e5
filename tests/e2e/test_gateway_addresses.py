"""Where mesh gateways listen."""
from harness import Envoy, add_gateway, add_service, export, free_port, intend, peer, tcp_call, wait_for


def test_a_gateway_on_several_addresses(lab, envoys):
    """Gateways stand between networks: each side reaches them by an address of its own."""
    near, far = (lab.agent(name, config='default_intention_policy = "deny"') for name in ("dc1", "dc2"))
    echo = lab.echo_service("echo")
    add_service(far, "echo", echo.port)
    ports, local = [free_port(), free_port()], free_port()

    def start(wan_port):
        return Envoy(far, "gateway", [
            "-gateway=mesh", "-register", f"-address=127.0.0.1:{ports[0]}", f"-wan-address=127.0.0.1:{wan_port}",
            f"-bind-address=inside=127.0.0.1:{ports[0]}", f"-bind-address=outside=127.0.0.1:{ports[1]}"])

    gateway = start(ports[0])
    add_gateway(near)
    frontend = add_service(near, "frontend", free_port(), [
        {"DestinationName": "echo", "DestinationPeer": "far", "LocalBindPort": local}])
    export(far, ["echo"], ["near"])
    intend(far, "echo", "frontend", "near")
    peer(far, near, "near", "far")
    wait_for(lambda: tcp_call(local) == "echo: ping", "the call through the first address")
    listeners = gateway.admin("/listeners").text
    assert f"127.0.0.1:{ports[0]}" in listeners and f"127.0.0.1:{ports[1]}" in listeners

    gateway.process.stop()
    start(ports[1])
    wait_for(lambda: f"127.0.0.1:{ports[1]}::" in frontend.admin("/clusters").text,
             "the source to be told of the second address")
    wait_for(lambda: tcp_call(local) == "echo: ping", "the call through the second address")
