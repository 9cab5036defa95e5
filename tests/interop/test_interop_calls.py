"""Calls between a Pons cluster and a real Consul cluster, either of them dialing, through the gateways of both.

The tests of one pair run in this order and leave it as they found it.
"""
import pytest

from harness import Lab, free_port, request, wait_for
from pairs import ALL, SERVICES, Pair


@pytest.fixture(scope="module", params=["pons dials", "consul dials"])
def pair(request, tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("pair"))
    try:
        pair = Pair(lab, request.param == "pons dials")
        pair.peer()
        for side in pair.both():
            side.export(*ALL)
            side.intend("flip")
        yield pair
    finally:
        lab.close()


@pytest.fixture(params=["consul", "pons"])
def importer(pair, request):
    """The side that imports and calls; `importer.other` exports."""
    return getattr(pair, request.param)


def denied(name):
    return "403" if name == "api" else ""


@pytest.mark.parametrize("name", SERVICES)
def test_no_intention_no_call(importer, name):
    importer.can_see(name)
    assert importer.calls(name) == denied(name)


@pytest.mark.parametrize("name", SERVICES)
def test_call(importer, name):
    importer.other.intend(name)
    importer.can_reach(name)


@pytest.mark.parametrize("name", SERVICES)
def test_intention_flips(importer, name):
    importer.other.intend(name, "deny")
    wait_for(lambda: importer.calls(name) == denied(name), f"{name} to be denied")
    importer.other.intend(name, "allow")
    importer.can_reach(name)


def test_permissions(importer):
    """Rules on single requests hold for the other program's callers, whose path both programs carried."""
    importer.other.agent.config_entry({"Kind": "service-intentions", "Name": "api", "Sources": [
        {"Name": "web", "Peer": importer.other.peer, "Permissions": [
            {"Action": "deny", "HTTP": {"PathPrefix": "/private"}},
            {"Action": "allow", "HTTP": {"PathPrefix": "/", "Methods": ["GET"]}},
            {"Action": "allow", "HTTP": {"PathExact": "/post", "Header": [{"Name": "x-key", "Exact": "k"}]}}]}]})

    def status(method, path, **headers):
        return request(method, f"http://127.0.0.1:{importer.ports['api']}{path}", headers=headers).status
    wait_for(lambda: status("GET", "/private") == 403, "the permissions to apply")
    assert [status("GET", "/"), status("POST", "/"), status("POST", "/post"),
            status("POST", "/post", **{"x-key": "k"})] == [200, 403, 403, 200]
    importer.other.intend("api")
    wait_for(lambda: status("GET", "/private") == 200, "the whole to be allowed again")


def test_caller_is_named_to_the_service(importer):
    """The service learns who called across the peering from XFCC, whichever side's Envoys carried it."""
    importer.can_reach("api")
    seen = importer.other.services["api"].seen[-1]
    names = {key.lower(): value for key, value in seen.items()}
    trust_domain = importer.agent.trust_domain()
    datacenter = importer.agent.datacenter
    assert f"URI=spiffe://{trust_domain}/ns/default/dc/{datacenter}/svc/web" in names["x-forwarded-client-cert"]


@pytest.mark.parametrize("name", SERVICES)
def test_unexport(importer, name):
    importer.other.export(*[other for other in ALL if other != name])
    importer.wait_gone(name)
    importer.other.export(*ALL)
    importer.can_reach(name)


def test_instances_come_go_and_fail(importer):
    exporter = importer.other

    def statuses():
        return sorted((entry["Service"]["ID"], check["Status"])
                      for entry in importer.sees("echo") for check in entry["Checks"])

    exporter.agent.register({"Name": "echo", "ID": "echo-2", "Port": free_port(), "Address": "127.0.0.9",
                             "Weights": {"Passing": 3, "Warning": 2},
                             "Check": {"CheckID": "alive", "TTL": "60s", "Status": "passing"}})
    wait_for(lambda: len(importer.sees("echo")) == 2, "the second instance")
    second = [entry for entry in importer.sees("echo") if entry["Service"]["ID"] == "echo-2"][0]
    assert second["Service"]["Address"] == "127.0.0.9" and second["Service"]["PeerName"] == importer.peer
    assert second["Service"]["Weights"] == {"Passing": 3, "Warning": 2}
    wait_for(lambda: ("echo-2", "passing") in statuses(), "the second instance to be passing")
    exporter.agent.put("/v1/agent/check/warn/alive")
    wait_for(lambda: ("echo-2", "warning") in statuses(), "the second instance to warn")
    exporter.agent.put("/v1/agent/check/fail/alive")
    wait_for(lambda: ("echo-2", "critical") in statuses(), "the second instance to be critical")
    passing = importer.agent.get(f"/v1/health/service/echo?passing&peer={importer.peer}")
    assert [entry["Service"]["ID"] for entry in passing] == ["echo"]
    exporter.agent.put("/v1/agent/check/pass/alive")
    wait_for(lambda: ("echo-2", "passing") in statuses(), "the second instance to be passing again")
    exporter.agent.put("/v1/agent/service/maintenance/echo-2?enable=true")
    wait_for(lambda: ("echo-2", "maintenance") in statuses(), "the second instance to be in maintenance")
    exporter.agent.put("/v1/agent/service/deregister/echo-2")
    wait_for(lambda: len(importer.sees("echo")) == 1, "the second instance to go")
    importer.can_reach("echo")


def test_protocol_changes(importer):
    importer.can_reach("flip")
    assert importer.sees_protocol("flip") == "tcp"
    importer.other.set_protocol("flip", "http")
    wait_for(lambda: importer.sees_protocol("flip") == "http", "the importer to know that flip is HTTP")
    wait_for(lambda: importer.has_xfcc("flip"), "flip to be called as HTTP")
    importer.other.set_protocol("flip", "tcp")
    wait_for(lambda: importer.sees_protocol("flip") == "tcp", "the importer to know that flip is TCP")
    wait_for(lambda: importer.reaches("flip") and not importer.has_xfcc("flip"), "flip to be called as TCP")


def test_trust_bundles_and_counts(pair):
    for side in pair.both():
        peering = side.peering()
        assert [pem.strip() for pem in peering["PeerCAPems"]] == [side.other.root()]
        assert sorted(peering["StreamStatus"]["ImportedServices"]) == sorted(ALL)
        assert sorted(peering["StreamStatus"]["ExportedServices"]) == sorted(ALL)
        assert peering["Remote"]["Datacenter"] == side.other.agent.datacenter


def test_heartbeats(pair):
    for side in pair.both():
        wait_for(lambda: side.peering()["StreamStatus"]["LastHeartbeat"], "a heartbeat, which comes every 15 s")


def test_nobody_complains(pair):
    assert pair.complaints() == []
