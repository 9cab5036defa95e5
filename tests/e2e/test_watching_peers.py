"""Clients that wait for changes which come over a peering."""
import pytest

from harness import export, peer, wait_for
from waiting import Waiting, index_of


@pytest.fixture(scope="module")
def clusters(module_lab):
    importer, exporter = module_lab.agent("dc1"), module_lab.agent("dc2")
    for name in ("watched", "other", "secret"):
        exporter.register({"Name": name, "Port": 1})
    export(exporter, ["watched", "other"], ["buyer"])
    peer(exporter, importer, "buyer", "seller")
    wait_for(lambda: len(importer.get("/v1/health/service/watched?peer=seller")) == 1, "the import")
    wait_for(lambda: len(importer.get("/v1/health/service/other?peer=seller")) == 1, "the import")
    return importer, exporter


def port_seen(importer, name):
    return importer.get(f"/v1/health/service/{name}?peer=seller")[0]["Service"]["Port"]


def test_a_watcher_of_an_imported_service(clusters):
    """Load balancers follow the other cluster's instances by waiting; others' changes must not wake them."""
    importer, exporter = clusters
    path = "/v1/health/service/watched?peer=seller"
    index = index_of(importer, path)
    query = Waiting(importer, f"{path}&index={index}&wait=30s")
    for port in (2, 3, 4):
        exporter.register({"Name": "other", "Port": port})
        wait_for(lambda: port_seen(importer, "other") == port, "the other's change to arrive")
        importer.register({"Name": "watched", "Port": port})  # the local one of that name
    assert index_of(importer, path) == index
    assert not query.done(), query.answer
    exporter.register({"Name": "watched", "Port": 5})
    assert query.wait().json()[0]["Service"]["Port"] == 5
    importer.put("/v1/agent/service/deregister/watched")


def test_a_watcher_of_a_local_service_sleeps_through_imports(clusters):
    """A busy peer would wake every client of the cluster, all the time."""
    importer, exporter = clusters
    importer.register({"Name": "other", "Port": 1})
    path = "/v1/health/service/other"
    index = index_of(importer, path)
    query = Waiting(importer, f"{path}?index={index}&wait=30s")
    for port in (12, 13, 14):
        exporter.register({"Name": "other", "Port": port})
        wait_for(lambda: port_seen(importer, "other") == port, "the change to arrive")
    assert index_of(importer, path) == index and not query.done()
    importer.register({"Name": "other", "Port": 9})
    assert query.wait().json()[0]["Service"]["Port"] == 9
    importer.put("/v1/agent/service/deregister/other")


def test_a_watcher_learns_of_the_unexport(clusters):
    """An instance that is no longer offered must leave the watcher's list without a new question."""
    importer, exporter = clusters
    path = "/v1/health/service/watched?peer=seller"
    query = Waiting(importer, f"{path}&index={index_of(importer, path)}&wait=30s")
    export(exporter, ["other"], ["buyer"])
    assert query.wait().json() == []
    export(exporter, ["watched", "other"], ["buyer"])
    wait_for(lambda: len(importer.get(path)) == 1, "it to be back")


def test_the_state_of_a_peering_can_be_waited_for(clusters):
    """Monitoring waits for the end of a peering instead of asking every second."""
    importer, exporter = clusters
    path = "/v1/peering/seller"
    query = Waiting(importer, f"{path}?index={index_of(importer, path)}&wait=30s")
    exporter.api("DELETE", "/v1/peering/buyer")
    query.wait()
    wait_for(lambda: importer.get(path)["State"] == "TERMINATED", "the end")
