"""More than two clusters: what one exports to another is for that one alone."""
import pytest

from harness import export, peer, wait_for


@pytest.fixture(scope="module")
def three(module_lab):
    """dc2 and dc3 both import from dc1; dc3 also imports from dc2."""
    one, two, three = (module_lab.agent(name) for name in ("dc1", "dc2", "dc3"))
    for name in ("alpha", "beta", "both"):
        one.register({"Name": name, "Port": 1000})
    two.register({"Name": "gamma", "Port": 1000})
    peer(one, two, "two", "one")
    peer(one, three, "three", "one")
    peer(two, three, "three", "two")
    one.config_entry({"Kind": "exported-services", "Name": "default", "Services": [
        {"Name": "alpha", "Consumers": [{"Peer": "two"}]},
        {"Name": "beta", "Consumers": [{"Peer": "three"}]},
        {"Name": "both", "Consumers": [{"Peer": "two"}, {"Peer": "three"}]}]})
    export(two, ["gamma"], ["three"])
    return one, two, three


def imported(agent, peer_name):
    return sorted(agent.get(f"/v1/peering/{peer_name}")["StreamStatus"]["ImportedServices"])


def test_each_importer_sees_only_its_own(three):
    """A service meant for one customer's cluster would show up in another's."""
    one, two, three = three
    wait_for(lambda: imported(two, "one") == ["alpha", "both"], "dc2's imports")
    wait_for(lambda: imported(three, "one") == ["beta", "both"], "dc3's imports")
    wait_for(lambda: len(two.get("/v1/health/service/alpha?peer=one")) == 1, "alpha in dc2")
    assert two.get("/v1/health/service/beta?peer=one") == []
    assert three.get("/v1/health/service/alpha?peer=one") == []


def test_exports_are_not_transitive(three):
    """dc2 must not hand on what dc1 gave to it, not even a wildcard export."""
    one, two, three = three
    wait_for(lambda: imported(three, "two") == ["gamma"], "dc3's imports from dc2")
    export(two, ["*"], ["three"])
    two.register({"Name": "delta", "Port": 1000})
    wait_for(lambda: "delta" in imported(three, "two"), "the wildcard to be in force")
    assert imported(three, "two") == ["delta", "gamma"]
    for name in ("alpha", "beta", "both"):
        assert three.get(f"/v1/health/service/{name}?peer=two") == []
    export(two, ["gamma"], ["three"])


def test_the_same_name_from_two_peers_stays_apart(three):
    """Two clusters may each have a "both"; one must not shadow the other or the local one."""
    one, two, three = three
    two.register({"Name": "both", "Port": 2222})
    three.register({"Name": "both", "Port": 3333})
    export(two, ["both", "gamma"], ["three"])

    def ports(query):
        return [entry["Service"]["Port"] for entry in three.get(f"/v1/health/service/both{query}")]
    wait_for(lambda: ports("?peer=two") == [2222], "dc2's own")
    wait_for(lambda: ports("?peer=one") == [1000], "dc1's own")
    assert ports("") == [3333]


def test_the_end_of_one_peering_leaves_the_others(three):
    """Deleting one partner must not take services of another away."""
    one, two, three = three
    two.api("DELETE", "/v1/peering/one")
    wait_for(lambda: one.get("/v1/peering/two")["State"] == "TERMINATED", "dc1 to learn it")
    wait_for(lambda: two.get("/v1/health/service/alpha?peer=one") == [], "its imports to vanish")
    assert imported(three, "one") == ["beta", "both"]
    assert three.get("/v1/peering/two")["State"] == "ACTIVE"
    assert one.get("/v1/peering/three")["State"] == "ACTIVE"
