"""Processes that die and come back: calls work again by themselves, and nothing that was written is lost."""
import time

import pytest

from harness import wait_for
from pair import THERE


def wait_healed(pair, what):
    began = time.monotonic()
    pair.wait_calls()
    print(f"{what}: calls pass again {time.monotonic() - began:.2f} s after its return")


@pytest.mark.parametrize("which", ["gateway1", "gateway2", "frontend", "backend_sidecar", "echo_sidecar"])
def test_a_killed_envoy_comes_back(pair, which):
    """Envoys are killed by the kernel, by upgrades, by schedulers; nobody should have to mend anything."""
    envoy = getattr(pair, which)
    envoy.process.stop(9)
    if which in ("frontend", "gateway2"):
        pair.wait_refused()
    envoy.process.start()
    envoy.wait_listener("")
    wait_healed(pair, envoy.name)


@pytest.mark.parametrize("which", ["dc1", "dc2"])
def test_calls_go_on_while_an_agent_is_away(pair, which):
    """The control plane is not on the path of a call; its death must not be the data plane's."""
    agent = getattr(pair, which)
    agent.process.stop(9)
    for _ in range(20):
        assert pair.http() == 200 and pair.tcp() == "echo: ping"
    agent.process.start()
    agent.wait_ready()
    wait_for(pair.is_peered, "the peering to be active again")
    wait_healed(pair, f"agent {which}")


@pytest.mark.parametrize("which", ["dc1", "dc2"])
def test_changes_take_effect_after_an_agent_was_killed(pair, which):
    """An agent that came back but lost its proxies or its peer would answer and change nothing."""
    getattr(pair, which).restart()
    pair.allow_nothing()
    wait_for(lambda: pair.http() == 403, "the intention's end to reach the proxies")
    pair.allow("backend", "echo")
    pair.export("echo")
    wait_for(lambda: not pair.seen("backend"), "the export's end to cross the peering")
    pair.export("backend", "echo")
    pair.wait_calls()


def test_both_agents_killed_at_once(pair):
    """A power cut takes everything; the clusters have to find each other again."""
    for agent in (pair.dc1, pair.dc2):
        agent.process.stop(9)
    for agent in (pair.dc1, pair.dc2):
        agent.process.start()
    for agent in (pair.dc1, pair.dc2):
        agent.wait_ready()
    began = time.monotonic()
    wait_for(pair.is_peered, "the peering to be active again")
    print(f"peering active {time.monotonic() - began:.2f} s after both were back")
    pair.wait_calls()


KEPT = ["/v1/connect/ca/roots", "/v1/catalog/nodes", "/v1/catalog/services", "/v1/catalog/service/backend",
        "/v1/catalog/service/echo-sidecar-proxy", "/v1/catalog/service/mesh-gateway", "/v1/health/connect/echo",
        "/v1/agent/services", "/v1/config/service-defaults", "/v1/config/exported-services",
        "/v1/config/service-intentions", "/v1/connect/intentions", "/v1/connect/ca/configuration",
        f"/v1/health/service/backend?peer={THERE}", f"/v1/health/service/echo?peer={THERE}"]


def without_liveness(value):
    """Checks run anew after a start; what they say is not what was stored. The node's own service changes
    with the start as well."""
    if isinstance(value, dict):
        return {key: without_liveness(part) for key, part in value.items()
                if key not in ("Output", "Status", "Checks", "ModifyIndex", "CreateIndex", "Index")}
    if isinstance(value, list):
        return [without_liveness(part) for part in value]
    return value


@pytest.mark.parametrize("which", ["dc1", "dc2"])
def test_a_killed_server_has_lost_nothing(pair, which):
    """After a crash a cluster with another CA, without its peerings or services is a new cluster."""
    agent = getattr(pair, which)
    pair.dc1.put("/v1/agent/service/register", {"Name": "kept", "Port": 1234, "Tags": ["a", "b"],
                                                "Meta": {"owner": "ops"}})
    before = {path: agent.api("GET", path) for path in KEPT}
    peering = agent.get("/v1/peerings")[0]
    token = agent.get("/v1/agent/self")["Config"]["NodeID"]
    agent.restart()
    after = {path: agent.api("GET", path) for path in KEPT}
    for path in KEPT:
        assert without_liveness(after[path].json()) == without_liveness(before[path].json()), path
        if "X-Consul-Index" in before[path].headers:
            assert int(after[path].headers["X-Consul-Index"]) >= int(before[path].headers["X-Consul-Index"]), path
    assert agent.get("/v1/agent/self")["Config"]["NodeID"] == token
    now = agent.get("/v1/peerings")[0]
    for key in ("ID", "Name", "PeerID", "PeerCAPems", "PeerServerName", "PeerServerAddresses", "CreateIndex"):
        assert now.get(key) == peering.get(key), key
    wait_for(pair.is_peered, "the peering's stream to come back")
    pair.wait_calls()
    pair.dc1.put("/v1/agent/service/deregister/kept")


def test_a_write_that_was_answered_survives(pair):
    """An answer is a promise: an allowed or revoked caller must stay so, however the server dies."""
    agent = pair.dc2
    for round_number in range(5):
        name = f"durable-{round_number}"
        agent.config_entry({"Kind": "service-defaults", "Name": name, "Protocol": "grpc"})
        agent.process.stop(9)
        agent.process.start()
        agent.wait_ready()
        assert agent.get(f"/v1/config/service-defaults/{name}")["Protocol"] == "grpc"
    for round_number in range(5):
        agent.api("DELETE", f"/v1/config/service-defaults/durable-{round_number}")


def test_an_instance_added_while_the_peer_was_away_arrives(pair):
    """What changed during an outage must not be missed for ever."""
    pair.dc1.process.stop(9)
    pair.dc2.register({"Name": "echo", "ID": "echo-new", "Port": 4321, "Address": "127.0.0.1"})
    pair.dc2.put("/v1/agent/service/deregister/backend")
    pair.dc1.process.start()
    pair.dc1.wait_ready()
    wait_for(lambda: sorted(entry["Service"]["ID"] for entry in pair.seen("echo")) == ["echo", "echo-new"],
             "the new instance to arrive")
    wait_for(lambda: pair.seen("backend") == [], "the removed one to go")
    pair.dc2.put("/v1/agent/service/deregister/echo-new")
    pair.dc2.register(pair.backend_sidecar.definition)
    pair.wait_calls()
