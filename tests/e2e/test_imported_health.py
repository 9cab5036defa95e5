"""What an importer sees of the health of instances, and of what stands behind the exporter's gateway."""
import pytest

from harness import export, peer, wait_for


@pytest.fixture
def clusters(lab):
    exporter, importer = lab.agent("dc2"), lab.agent("dc1")
    for name in ("web-1", "web-2"):
        exporter.register({
            "Name": "web", "ID": name, "Port": 80, "Address": "127.0.0.9", "Weights": {"Passing": 3, "Warning": 2},
            "Check": {"CheckID": f"alive-{name}", "TTL": "600s", "Status": "passing"},
            "Connect": {"SidecarService": {"Checks": [{"AliasService": name}]}}})
    exporter.register({"Kind": "mesh-gateway", "Name": "gateway", "Address": "127.0.0.2", "Port": 8443})
    peer(exporter, importer, "importer", "exporter")
    export(exporter, ["web"], ["importer"])
    return exporter, importer


def statuses(importer):
    return {entry["Service"]["ID"]: [check["Status"] for check in entry["Checks"]]
            for entry in importer.get("/v1/health/service/web?peer=exporter")}


def behind(importer):
    entries = importer.get("/v1/health/connect/web?peer=exporter")
    return entries[0]["Service"]["Connect"]["PeerMeta"]["Instances"] if entries else None


def test_the_importer_sees_how_instances_are(clusters):
    """Who watches or balances by the peer's catalog must not be told that a sick instance is well."""
    exporter, importer = clusters
    wait_for(lambda: statuses(importer) == {"web-1": ["passing"], "web-2": ["passing"]}, "both to be passing")
    wait_for(lambda: behind(importer) == {"Total": 2, "Healthy": 2}, "two healthy ones behind the gateway")
    entry = importer.get("/v1/health/service/web?peer=exporter")[0]
    assert entry["Service"]["Weights"] == {"Passing": 3, "Warning": 2}

    exporter.put("/v1/agent/check/warn/alive-web-1")
    wait_for(lambda: statuses(importer)["web-1"] == ["warning"], "the first to warn")
    exporter.put("/v1/agent/check/fail/alive-web-1")
    wait_for(lambda: statuses(importer)["web-1"] == ["critical"], "the first to be critical")
    wait_for(lambda: behind(importer) == {"Total": 2, "Healthy": 1}, "one healthy one behind the gateway")
    passing = importer.get("/v1/health/service/web?passing&peer=exporter")
    assert [entry["Service"]["ID"] for entry in passing] == ["web-2"]

    exporter.put("/v1/agent/service/maintenance/web-2?enable=true")
    wait_for(lambda: statuses(importer)["web-2"] == ["maintenance"], "the second to be in maintenance")
    assert importer.get("/v1/health/service/web?passing&peer=exporter") == []
    wait_for(lambda: behind(importer) == {"Total": 2, "Healthy": 0}, "nothing healthy behind the gateway")

    exporter.put("/v1/agent/service/maintenance/web-2?enable=false")
    exporter.put("/v1/agent/check/pass/alive-web-1")
    wait_for(lambda: statuses(importer) == {"web-1": ["passing"], "web-2": ["passing"]}, "both to be well again")
    wait_for(lambda: behind(importer) == {"Total": 2, "Healthy": 2}, "both behind the gateway to be well")


def test_a_node_in_maintenance_takes_its_instances_along(clusters):
    """Operators take whole machines out; the peer's view has to follow."""
    exporter, importer = clusters
    wait_for(lambda: statuses(importer) == {"web-1": ["passing"], "web-2": ["passing"]}, "both to be passing")
    exporter.put("/v1/agent/maintenance?enable=true")
    wait_for(lambda: statuses(importer) == {"web-1": ["maintenance"], "web-2": ["maintenance"]}, "both to be out")
    exporter.put("/v1/agent/maintenance?enable=false")
    wait_for(lambda: statuses(importer) == {"web-1": ["passing"], "web-2": ["passing"]}, "both to be back")
