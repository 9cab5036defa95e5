"""The peering's own stream through the mesh gateways of both clusters."""
import base64
import json

import pytest

from harness import add_gateway, peer, wait_for

THROUGH_GATEWAYS = {"Kind": "mesh", "Peering": {"PeerThroughMeshGateways": True}}


def leads_to_servers(gateway, count):
    dump = gateway.admin("/config_dump?resource=dynamic_listeners").json()
    active = json.dumps([entry.get("active_state") for entry in dump.get("configs", [])])
    return active.count('"server_names": ["server.') == count


def connections(gateway, server_name):
    lines = gateway.admin("/clusters").text.splitlines()
    return sum(int(line.rsplit("::", 1)[1]) for line in lines
               if line.startswith(f"{server_name}::127") and "::cx_total::" in line)


@pytest.mark.usefixtures("envoys")
def test_servers_meet_through_the_gateways(lab):
    """The servers need no way to each other: the token names the gateway, and both gateways carry the stream."""
    acceptor, dialer = lab.agent("dc1"), lab.agent("dc2")
    gateways = [add_gateway(agent) for agent in (acceptor, dialer)]
    for agent in (acceptor, dialer):
        agent.config_entry(THROUGH_GATEWAYS)
    for gateway in gateways:
        wait_for(lambda: leads_to_servers(gateway, 1), "the gateway to lead to its own server")
    token = json.loads(base64.b64decode(peer(acceptor, dialer, "cluster-02", "cluster-01")))
    assert token["ServerAddresses"] == [f"127.0.0.1:{gateways[0].port}"]
    for gateway in gateways:
        assert connections(gateway, token["ServerName"]) > 0

    acceptor.config_entry({"Kind": "mesh", "Peering": {"PeerThroughMeshGateways": False}})
    wait_for(lambda: leads_to_servers(gateways[0], 0), "the gateway to let nobody to the server any more")
    wait_for(lambda: dialer.get("/v1/peering/cluster-01")["PeerServerAddresses"]
             == [f"127.0.0.1:{acceptor.ports['grpc_tls']}"], "the dialer to know the server's own address")
