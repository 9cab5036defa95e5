"""The peering's own stream through mesh gateways (mesh entry, Peering.PeerThroughMeshGateways)."""
import base64
import json

import pytest

from harness import wait_for
from pairs import register_gateway
from test_interop_life import Parties

THROUGH_GATEWAYS = {"Kind": "mesh", "Peering": {"PeerThroughMeshGateways": True}}


@pytest.mark.parametrize("dialer", ["pons", "consul"])
@pytest.mark.parametrize("behind", ["consul", "pons", "both"])
def test_stream_through_gateways(lab, tmp_path, dialer, behind):
    """The acceptor's token names its gateway; a dialer goes through its own gateway first."""
    parties = Parties(lab, tmp_path, dialer == "pons")
    gateways = {}
    for name in ("consul", "pons"):
        party = getattr(parties, name)
        if behind in (name, "both"):
            gateways[name] = register_gateway(party.agent)
            party.agent.config_entry(THROUGH_GATEWAYS)
    acceptor = "consul" if dialer == "pons" else "pons"
    token = parties.token()
    addresses = json.loads(base64.b64decode(token))["ServerAddresses"]
    expected = gateways[acceptor].port if acceptor in gateways else parties.acceptor.agent.ports["grpc_tls"]
    assert addresses == [f"127.0.0.1:{expected}"]
    if acceptor in gateways:
        wait_for(lambda: ".peering." in gateways[acceptor].active_listeners(),
                 "the acceptor's gateway to lead to its server")
    parties.establish(token)
    parties.wait_whole(60)
    for gateway in gateways.values():
        assert carried(gateway) > 0, f"{gateway.name} carries the stream"
    assert parties.complaints() == []


def carried(gateway):
    """How many connections the gateway holds to a peering's control plane."""
    lines = gateway.admin("/clusters").text.splitlines()
    return sum(int(line.rsplit("::", 1)[1]) for line in lines if ".peering." in line and "::cx_total::" in line)


def test_gateways_taken_into_use_while_the_stream_lives(lab, tmp_path):
    """A Consul that turns to gateways tells its new address over the stream, which stays as it is."""
    parties = Parties(lab, tmp_path, True)
    parties.peer()
    gateway = register_gateway(parties.consul.agent)
    parties.consul.agent.config_entry(THROUGH_GATEWAYS)
    wait_for(lambda: parties.pons.agent.get(f"/v1/peering/{parties.pons.peer}")["PeerServerAddresses"]
             == [f"127.0.0.1:{gateway.port}"], "the gateway's address")
    assert parties.pons.state() == "ACTIVE"
