"""Names with capitals, which the catalog keeps as they were written, work on the wire, where SNI has none."""
import pytest

from harness import add_gateway, add_service, export, free_port, http_call, intend, peer, tcp_call, wait_for


@pytest.mark.parametrize("protocol, mode", [("tcp", "remote"), ("tcp", "local"), ("http", "local")])
def test_a_service_with_capitals_is_called_across_clusters(lab, envoys, protocol, mode):
    here, there = lab.agent("dc1"), lab.agent("dc2")
    here.config_entry({"Kind": "proxy-defaults", "Name": "global", "MeshGateway": {"Mode": mode}})
    service = lab.http_service("Big-Backend")
    there.config_entry({"Kind": "service-defaults", "Name": "Big-Backend", "Protocol": protocol})
    add_gateway(there)
    add_gateway(here)
    add_service(there, "Big-Backend", service.port)
    peer(there, here, "dc1", "dc2")
    export(there, ["Big-Backend"], ["dc1"])
    intend(there, "Big-Backend", "Front", "dc1")
    upstream = free_port()
    add_service(here, "Front", free_port(), [
        {"DestinationName": "Big-Backend", "DestinationPeer": "dc2", "LocalBindPort": upstream}])
    wait_for(lambda: http_call(upstream).text.startswith("hello from Big-Backend"), "the call")
    instances = here.get("/v1/health/service/Big-Backend?peer=dc2")
    assert [instance["Service"]["Service"] for instance in instances] == ["Big-Backend"]
    assert here.get("/v1/peering/dc2")["StreamStatus"]["ImportedServices"] == ["Big-Backend"]
    assert there.get("/v1/exported-services")[0]["Service"] == "Big-Backend"
    assert "Big-Backend" in [line["Name"] for line in here.get("/v1/internal/ui/services")]


def test_a_service_with_capitals_is_called_in_its_cluster(lab, envoys):
    agent, upstream = lab.agent("dc1"), free_port()
    echo = lab.echo_service("Echo")
    add_service(agent, "Echo", echo.port)
    intend(agent, "Echo", "Front")
    add_service(agent, "Front", free_port(), [{"DestinationName": "Echo", "LocalBindPort": upstream}])
    wait_for(lambda: tcp_call(upstream) == "Echo: ping", "the call")
