"""The end of a peering, from either side: the other cluster learns it, and nothing that came over it stays."""
import pytest

from harness import peer, tcp_call, wait_for
from pair import HERE, THERE


def gone(agent, name):
    return agent.api("GET", f"/v1/peering/{name}", ok=False).status == 404


def assert_nothing_imported(pair):
    wait_for(lambda: not pair.seen("backend") and not pair.seen("echo"), "imported services to vanish")
    assert pair.dc1.get(f"/v1/catalog/service/echo?peer={THERE}") == []
    assert pair.dc1.get(f"/v1/health/connect/echo?peer={THERE}") == []


def test_deleted_by_the_importer(pair):
    """Who ends a peering expects no data, no port and no trust of the other cluster to remain."""
    pair.dc1.api("DELETE", f"/v1/peering/{THERE}")
    wait_for(lambda: gone(pair.dc1, THERE), "the peering to go")
    wait_for(lambda: pair.dc2.get(f"/v1/peering/{HERE}")["State"] == "TERMINATED", "the exporter to learn it")
    assert_nothing_imported(pair)
    pair.wait_refused()
    listeners = pair.frontend.admin("/listeners").text
    assert "backend" not in listeners and "echo" not in listeners


def test_deleted_by_the_exporter(pair):
    """An exporter that cuts a peer off must not have its services called by that peer any longer."""
    pair.dc2.api("DELETE", f"/v1/peering/{HERE}")
    wait_for(lambda: gone(pair.dc2, HERE), "the peering to go")
    wait_for(lambda: pair.dc1.get(f"/v1/peering/{THERE}")["State"] == "TERMINATED", "the importer to learn it")
    assert_nothing_imported(pair)
    pair.wait_refused()


def test_deleted_while_the_other_side_is_away(pair):
    """The other cluster may be down in that moment; it must be told when it is back."""
    pair.dc1.process.stop()
    pair.dc2.api("DELETE", f"/v1/peering/{HERE}")
    wait_for(lambda: gone(pair.dc2, HERE) or
             pair.dc2.get(f"/v1/peering/{HERE}")["State"] == "DELETING", "the peering to be deleted")
    pair.dc1.process.start()
    pair.dc1.wait_ready()
    wait_for(lambda: gone(pair.dc1, THERE) or
             pair.dc1.get(f"/v1/peering/{THERE}")["State"] in ("TERMINATED", "FAILING"),
             "dc1 to see that the peering has ended")
    pair.wait_refused()


@pytest.mark.parametrize("first", ["dc1", "dc2"])
def test_peering_again_under_the_same_name(pair, first):
    """After a mistake operators delete and peer anew; old state must not stand in the way."""
    if first == "dc1":
        pair.dc1.api("DELETE", f"/v1/peering/{THERE}")
    else:
        pair.dc2.api("DELETE", f"/v1/peering/{HERE}")
    pair.wait_refused()
    pair.forget_peering()
    peer(pair.dc2, pair.dc1, HERE, THERE)
    pair.wait_calls()


def test_a_new_token_for_an_active_peering_repairs_it(pair):
    """Tokens are made anew to mend a peering; calls in between must go on."""
    token = pair.dc2.api("POST", "/v1/peering/token", {"PeerName": HERE}).json()["PeeringToken"]
    assert tcp_call(pair.tcp_port) == "echo: ping"
    pair.dc1.api("POST", "/v1/peering/establish", {"PeerName": THERE, "PeeringToken": token})
    wait_for(pair.is_peered, "the peering to be active")
    pair.wait_calls()
