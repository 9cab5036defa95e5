"""An agent's life: files, reload, leaving, ports of sidecars, and clients that wait for changes."""
import signal
import time

import pytest

from harness import wait_for
from waiting import Waiting, index_of


@pytest.fixture(scope="module")
def agent(module_lab):
    return module_lab.agent("dc1")


# ---- files ----

def test_reload_follows_the_files(lab):
    """Configuration management edits the files and sends SIGHUP; what the API registered is not its business."""
    folder = lab.folder / "services"
    folder.mkdir()
    (folder / "one.hcl").write_text('service {\n name = "one"\n port = 1\n}\n')
    (folder / "two.json").write_text('{"service": {"name": "two", "port": 2, "connect": {"sidecar_service": {}}}}')
    agent = lab.agent("dc1", arguments=[f"-config-dir={folder}"])
    assert set(agent.get("/v1/agent/services")) == {"one", "two", "two-sidecar-proxy"}
    agent.register({"Name": "by-api", "Port": 9})

    (folder / "two.json").unlink()
    (folder / "one.hcl").write_text('service {\n name = "one"\n port = 11\n}\nservice {\n name = "three"\n port = 3\n}\n')
    agent.process.popen.send_signal(signal.SIGHUP)
    wait_for(lambda: set(agent.get("/v1/agent/services")) == {"one", "three", "by-api"}, "the files to be in force")
    assert agent.get("/v1/agent/service/one")["Port"] == 11
    wait_for(lambda: "two" not in agent.get("/v1/catalog/services"), "two to leave the catalog")

    (folder / "bad.hcl").write_text("service {\n name = = 1\n}\n")
    before = agent.get("/v1/agent/services")
    answer = agent.api("PUT", "/v1/agent/reload", ok=False)
    assert answer.status != 200 and "bad.hcl:2" in answer.text, answer
    assert agent.get("/v1/agent/services") == before, "a bad file changes nothing"
    agent.process.popen.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload refused" in agent.process.text(), "the log to say so")
    assert agent.get("/v1/agent/services") == before
    (folder / "bad.hcl").unlink()
    agent.put("/v1/agent/reload")


def test_files_and_the_api_after_a_restart(lab):
    """A server's own registrations: those of the API stay, those of files are what the files say now."""
    file = lab.folder / "service.hcl"
    file.write_text('service {\n name = "filed"\n port = 1\n}\n')
    agent = lab.agent("dc1", dev=False, data_dir=lab.folder / "data", arguments=[f"-config-file={file}"])
    agent.register({"Name": "by-api", "Port": 9})
    file.write_text('service {\n name = "renamed"\n port = 1\n}\n')
    agent.restart(signal.SIGTERM)
    wait_for(lambda: set(agent.get("/v1/agent/services")) == {"renamed", "by-api"}, "the new file to be in force")


def test_config_entries_of_files(lab):
    """Clusters are born with their entries: without them the first minutes are open to everybody."""
    agent = lab.agent("dc1", config="""
        config_entries {
          bootstrap = [
            { kind = "proxy-defaults" name = "global" config { protocol = "http" } },
            { kind = "service-intentions" name = "*" sources = [{ name = "*" action = "deny" }] },
          ]
        }""")
    assert agent.get("/v1/config/proxy-defaults/global")["Config"] == {"protocol": "http"}
    assert agent.get("/v1/connect/intentions/check?source=a&destination=b") == {"Allowed": False}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_leaving(lab, how):
    """Service managers kill what does not end in time, and count other exit codes as failures."""
    agent = lab.agent("dc1", dev=False, data_dir=lab.folder / "data")
    agent.register({"Name": "web", "Port": 80, "Check": {"TCP": "192.0.2.1:80", "Interval": "1s", "Timeout": "30s"}})
    query = Waiting(agent, "/v1/health/service/web?index=9999&wait=60s")
    wait_for(lambda: not agent.get("/v1/health/service/web?passing"), "the check to be under way")
    began = time.monotonic()
    agent.process.popen.send_signal(how)
    assert agent.process.wait_end() == 0
    query.thread.join(5)
    assert query.done(), "who waited for a change was left hanging"
    print(f"left in {time.monotonic() - began:.2f} s")


# ---- sidecars ----

def test_ports_of_sidecars(lab):
    """Each sidecar needs a port of its own; one that is free again is used again."""
    agent = lab.agent("dc1", config="ports { sidecar_min_port = 21000 sidecar_max_port = 21002 }\n")

    def port(name):
        return agent.get(f"/v1/agent/service/{name}-sidecar-proxy")["Port"]
    for name in ("a", "b", "c"):
        agent.register({"Name": name, "Port": 1, "Connect": {"SidecarService": {}}})
    assert {port(name) for name in ("a", "b", "c")} == {21000, 21001, 21002}
    full = agent.api("PUT", "/v1/agent/service/register",
                     {"Name": "d", "Port": 1, "Connect": {"SidecarService": {}}}, ok=False)
    assert full.status != 200 and "port" in full.text, full
    assert "d" not in agent.get("/v1/agent/services"), "half of it was registered"
    was = port("b")
    agent.register({"Name": "b", "Port": 2, "Connect": {"SidecarService": {}}})
    assert port("b") == was, "a changed service keeps its sidecar's port"
    agent.put("/v1/agent/service/deregister/b")
    assert set(agent.get("/v1/agent/services")) == {"a", "a-sidecar-proxy", "c", "c-sidecar-proxy"}
    assert {name for name in agent.get("/v1/catalog/services")} == {"consul", "a", "a-sidecar-proxy", "c",
                                                                    "c-sidecar-proxy"}
    agent.register({"Name": "d", "Port": 1, "Connect": {"SidecarService": {}}})
    assert port("d") == was


def test_a_sidecar_that_is_no_longer_wanted_goes(agent):
    """Registered anew without `connect`, a service must not keep a proxy that nobody runs."""
    agent.register({"Name": "web", "Port": 80, "Connect": {"SidecarService": {}}})
    assert "web-sidecar-proxy" in agent.get("/v1/agent/services")
    sidecar = agent.get("/v1/agent/service/web-sidecar-proxy")
    assert sidecar["Kind"] == "connect-proxy"
    assert sidecar["Proxy"]["DestinationServiceName"] == "web"
    assert sidecar["Proxy"]["LocalServicePort"] == 80
    agent.put("/v1/agent/service/deregister/web")
    assert agent.get("/v1/agent/services") == {}


# ---- waiting ----

def test_a_blocking_query_waits_for_its_service(agent):
    """Clients hold thousands of these; an early answer for a stranger's change is a storm, a late one an outage."""
    agent.register({"Name": "watched", "Port": 1})
    agent.register({"Name": "other", "Port": 1})
    path = "/v1/health/service/watched"
    index = index_of(agent, path)
    assert index > 0
    query = Waiting(agent, f"{path}?index={index}&wait=30s")
    for port in range(2, 12):
        agent.register({"Name": "other", "Port": port})
        agent.config_entry({"Kind": "service-defaults", "Name": "other", "Protocol": "http"})
    assert index_of(agent, path) == index, "the index has moved with another service"
    assert not query.done(), query.answer
    agent.register({"Name": "watched", "Port": 7})
    answer = query.wait()
    assert answer.json()[0]["Service"]["Port"] == 7
    assert int(answer.headers["X-Consul-Index"]) > index
    for name in ("watched", "other"):
        agent.put(f"/v1/agent/service/deregister/{name}")


def test_a_blocking_query_ends_with_its_wait(agent):
    """Clients set the time; they must get an answer with the same index then."""
    agent.register({"Name": "still", "Port": 1})
    path = "/v1/health/service/still"
    index = index_of(agent, path)
    query = Waiting(agent, f"{path}?index={index}&wait=300ms")
    answer = query.wait()
    assert int(answer.headers["X-Consul-Index"]) == index and query.took >= 0.3
    agent.put("/v1/agent/service/deregister/still")


def test_a_blocking_query_for_what_is_not_there_yet(agent):
    """Dependents start before the service does."""
    path = "/v1/health/service/unborn"
    answer = agent.api("GET", path)
    assert answer.json() == []
    query = Waiting(agent, f"{path}?index={answer.headers['X-Consul-Index']}&wait=30s")
    agent.register({"Name": "someone", "Port": 1})
    agent.put("/v1/agent/service/deregister/someone")
    assert not query.done(), query.answer
    agent.register({"Name": "unborn", "Port": 1})
    assert len(query.wait().json()) == 1
    query = Waiting(agent, f"{path}?index={query.answer.headers['X-Consul-Index']}&wait=30s")
    agent.put("/v1/agent/service/deregister/unborn")
    assert query.wait().json() == []


@pytest.mark.parametrize("path, change", [
    ("/v1/catalog/services", lambda agent: agent.register({"Name": "n", "Port": 1})),
    ("/v1/config/service-defaults/n", lambda agent: agent.config_entry(
        {"Kind": "service-defaults", "Name": "n", "Protocol": "grpc"})),
    ("/v1/connect/intentions", lambda agent: agent.config_entry(
        {"Kind": "service-intentions", "Name": "n", "Sources": [{"Name": "m", "Action": "allow"}]})),
    ("/v1/peerings", lambda agent: agent.api("POST", "/v1/peering/token", {"PeerName": "n"})),
], ids=["services", "config", "intentions", "peerings"])
def test_what_can_be_waited_for(agent, path, change):
    """Watchers such as consul-template wait on all of these."""
    agent.config_entry({"Kind": "service-defaults", "Name": "n", "Protocol": "http"})
    first = agent.api("GET", path)
    query = Waiting(agent, f"{path}?index={first.headers['X-Consul-Index']}&wait=30s")
    change(agent)
    answer = query.wait()
    assert answer.text != first.text


def test_many_wait_and_all_are_told(agent):
    """One change, many watchers: nobody may be forgotten."""
    agent.register({"Name": "popular", "Port": 1})
    path = "/v1/health/service/popular"
    index = index_of(agent, path)
    queries = [Waiting(agent, f"{path}?index={index}&wait=30s") for _ in range(50)]
    agent.register({"Name": "popular", "Port": 2})
    assert all(query.wait().json()[0]["Service"]["Port"] == 2 for query in queries)
    agent.put("/v1/agent/service/deregister/popular")
