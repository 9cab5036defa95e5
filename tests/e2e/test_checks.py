"""Health checks of real services: they fail, recover, and what they say decides who is called."""
import threading
import time

import pytest

from harness import EchoService, HttpService, wait_for


@pytest.fixture(scope="module")
def agent(module_lab):
    return module_lab.agent("dc1")


def status(agent, service_id):
    answer = agent.api("GET", f"/v1/agent/health/service/id/{service_id}", ok=False)
    return answer.json()["AggregatedStatus"]


def passing(agent, name):
    return [entry["Service"]["ID"] for entry in agent.get(f"/v1/health/service/{name}?passing")]


def test_ttl(agent):
    """An application that stops reporting must stop being called."""
    agent.register({"Name": "ttl", "Port": 1, "Check": {"CheckID": "beat", "TTL": "1s"}})
    assert status(agent, "ttl") == "critical", "nothing was heard yet"
    agent.put("/v1/agent/check/pass/beat?note=fine")
    assert passing(agent, "ttl") == ["ttl"]
    assert agent.get("/v1/agent/checks")["beat"]["Output"] == "fine"
    wait_for(lambda: status(agent, "ttl") == "critical", "silence to make it critical")
    assert passing(agent, "ttl") == []
    assert "TTL expired" in agent.get("/v1/agent/checks")["beat"]["Output"]
    agent.put("/v1/agent/check/warn/beat")
    assert status(agent, "ttl") == "warning"
    agent.put("/v1/agent/check/update/beat", {"Status": "passing", "Output": "by update"})
    assert status(agent, "ttl") == "passing"
    agent.put("/v1/agent/check/fail/beat?note=broken")
    assert status(agent, "ttl") == "critical"
    agent.put("/v1/agent/service/deregister/ttl")


def test_tcp(agent):
    """A process that no longer listens must leave the list, and come back with its port."""
    service = EchoService("tcp")
    port = service.port
    agent.register({"Name": "tcp", "Port": port, "Check": {"TCP": f"127.0.0.1:{port}", "Interval": "100ms",
                                                            "Timeout": "1s"}})
    wait_for(lambda: passing(agent, "tcp") == ["tcp"], "the check to pass")
    service.stop()
    wait_for(lambda: passing(agent, "tcp") == [], "the check to fail")
    check = next(check for check in agent.get("/v1/agent/checks").values() if check["ServiceID"] == "tcp")
    assert "refused" in check["Output"]
    again = EchoService("tcp", port)
    wait_for(lambda: passing(agent, "tcp") == ["tcp"], "the check to pass again")
    again.stop()
    agent.put("/v1/agent/service/deregister/tcp")


def test_http(agent):
    """A service that answers 500 is up and of no use; 429 is a warning; only 2xx is health."""
    service = HttpService("http")
    agent.register({"Name": "http", "Port": service.port, "Check": {
        "HTTP": f"http://127.0.0.1:{service.port}/health", "Interval": "100ms",
        "Header": {"X-Probe": ["yes"]}}})
    wait_for(lambda: status(agent, "http") == "passing", "200 to pass")
    assert any(seen.get("X-Probe") == "yes" for seen in service.seen)
    service.status = 500
    wait_for(lambda: status(agent, "http") == "critical", "500 to fail")
    service.status = 429
    wait_for(lambda: status(agent, "http") == "warning", "429 to warn")
    service.status = 200
    wait_for(lambda: status(agent, "http") == "passing", "200 to pass again")
    service.stop()
    wait_for(lambda: status(agent, "http") == "critical", "no answer to fail")
    agent.put("/v1/agent/service/deregister/http")


def test_http_by_head(agent):
    """Probing with HEAD spares a service the body."""
    service = HttpService("head")
    agent.register({"Name": "head", "Port": service.port, "Check": {
        "HTTP": f"http://127.0.0.1:{service.port}/", "Method": "HEAD", "Interval": "100ms", "Timeout": "1s"}})
    wait_for(lambda: status(agent, "head") == "passing", "HEAD to pass")
    service.stop()
    agent.put("/v1/agent/service/deregister/head")


def test_http_that_never_answers(agent):
    """A hanging service is worse than a dead one; the check has to give up on it."""
    service = HttpService("slow")
    service.gate = threading.Event()
    agent.register({"Name": "slow", "Port": service.port, "Check": {
        "HTTP": f"http://127.0.0.1:{service.port}/", "Interval": "100ms", "Timeout": "300ms",
        "Status": "passing"}})
    wait_for(lambda: status(agent, "slow") == "critical", "the time-out to count")
    service.gate.set()
    wait_for(lambda: status(agent, "slow") == "passing", "recovery")
    agent.put("/v1/agent/service/deregister/slow")
    service.stop()


def test_alias(agent):
    """What stands for another service is as healthy as that one; a sidecar without its service is not."""
    agent.register({"Name": "base", "Port": 1, "Check": {"CheckID": "base-ttl", "TTL": "1h", "Status": "passing"}})
    agent.register({"Name": "alias", "Port": 2, "Check": {"AliasService": "base"}})
    wait_for(lambda: passing(agent, "alias") == ["alias"], "the alias to pass")
    agent.put("/v1/agent/check/fail/base-ttl")
    wait_for(lambda: passing(agent, "alias") == [], "the alias to fail")
    agent.put("/v1/agent/check/pass/base-ttl")
    wait_for(lambda: passing(agent, "alias") == ["alias"], "the alias to recover")
    for name in ("alias", "base"):
        agent.put(f"/v1/agent/service/deregister/{name}")


def test_checks_by_themselves(agent):
    """Checks may be added to a service or to the whole node later, and taken away again."""
    agent.register({"Name": "late", "Port": 1})
    assert passing(agent, "late") == ["late"]
    agent.put("/v1/agent/check/register", {"Name": "own", "ServiceID": "late", "TTL": "1h"})
    assert passing(agent, "late") == []
    agent.put("/v1/agent/check/deregister/own")
    assert passing(agent, "late") == ["late"]
    agent.put("/v1/agent/check/register", {"Name": "disk", "TTL": "1h"})
    assert passing(agent, "late") == [], "a critical node counts for all that runs there"
    agent.put("/v1/agent/check/pass/disk")
    assert passing(agent, "late") == ["late"]
    agent.put("/v1/agent/check/deregister/disk")
    agent.put("/v1/agent/service/deregister/late")


def test_maintenance(agent):
    """Before an upgrade operators take a service or a machine out of the lists, and put it back after."""
    agent.register({"Name": "m1", "Port": 1})
    agent.register({"Name": "m2", "Port": 2})
    agent.put("/v1/agent/service/maintenance/m1?enable=true&reason=upgrade")
    assert (passing(agent, "m1"), passing(agent, "m2")) == ([], ["m2"])
    assert "upgrade" in str(agent.get("/v1/agent/checks")["_service_maintenance:m1"]["Notes"])
    agent.put("/v1/agent/service/maintenance/m1?enable=false")
    assert passing(agent, "m1") == ["m1"]
    agent.put("/v1/agent/maintenance?enable=true")
    assert (passing(agent, "m1"), passing(agent, "m2")) == ([], [])
    agent.put("/v1/agent/maintenance?enable=false")
    assert (passing(agent, "m1"), passing(agent, "m2")) == (["m1"], ["m2"])
    for name in ("m1", "m2"):
        agent.put(f"/v1/agent/service/deregister/{name}")


def test_checks_do_not_wait_for_their_turn(agent):
    """A long interval must not keep a new service out of the lists for that long."""
    service = EchoService("quick")
    began = time.monotonic()
    agent.register({"Name": "quick", "Port": service.port, "Check": {
        "TCP": f"127.0.0.1:{service.port}", "Interval": "10m"}})
    wait_for(lambda: passing(agent, "quick") == ["quick"], "the first try")
    print(f"passing {time.monotonic() - began:.3f} s after the registration")
    service.stop()
    agent.put("/v1/agent/service/deregister/quick")
