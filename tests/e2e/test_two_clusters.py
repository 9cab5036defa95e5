"""The main job: a call from one cluster to another, and what must stop it."""
import pytest

from harness import (Envoy, KeptAlive, add_gateway, add_service, export, free_port, intend, peer, status_of,
                     tcp_call, wait_for)
from pair import HERE, THERE


def test_http_and_tcp_calls_pass(pair):
    """Without this there is no product."""
    assert pair.http() == 200
    assert pair.tcp() == "echo: ping"


def test_the_destination_sees_who_calls(pair):
    """The service at the far end authorises and audits by the caller's identity, not by its gateway's."""
    pair.http()
    header = next(value for name, value in pair.backend.seen[-1].items()
                  if name.lower() == "x-forwarded-client-cert")
    assert f"URI=spiffe://{pair.dc1.trust_domain()}/ns/default/dc/dc1/svc/frontend" in header


def test_refused_without_an_intention(pair):
    """A peer's workloads would otherwise reach everything that is exported, whoever they are."""
    pair.allow_nothing()
    wait_for(lambda: pair.http() == 403, "backend's sidecar to refuse")
    wait_for(lambda: pair.tcp() == "", "echo's sidecar to refuse")


def test_an_intention_for_a_local_service_of_that_name_is_not_for_the_peer(pair):
    """A peer could name its service like a trusted local one and walk in."""
    intend(pair.dc2, "backend", "frontend")
    intend(pair.dc2, "echo", "frontend")
    wait_for(lambda: pair.http() == 403, "backend's sidecar to refuse")
    wait_for(lambda: pair.tcp() == "", "echo's sidecar to refuse")


def test_an_intention_reaches_open_connections_from_the_peer(pair):
    """A caller that was denied must not go on over the connection that it has."""
    client = KeptAlive(pair.http_port)
    assert client.call() == 200
    intend(pair.dc2, "backend", "frontend", HERE, action="deny")
    wait_for(lambda: client.call() == 403, "the open connection to be refused")
    pair.allow("backend")
    wait_for(lambda: client.call() == 200, "the open connection to be let through again")
    client.close()


def test_unexported_means_gone(pair):
    """An operator who takes an export back expects the door to be shut, there and here."""
    pair.export("echo")
    wait_for(lambda: not pair.seen("backend"), "backend to vanish from the importer")
    wait_for(lambda: status_of(pair.http_port) == 0, "backend's port to close")
    assert pair.tcp() == "echo: ping"
    assert pair.dc1.get(f"/v1/peering/{THERE}")["StreamStatus"]["ImportedServices"] == ["echo"]
    pair.export_nothing()
    pair.wait_refused()
    wait_for(lambda: not pair.dc1.get(f"/v1/peering/{THERE}")["StreamStatus"]["ImportedServices"],
             "nothing to be imported")


def test_instances_come_and_go_at_the_source(pair):
    """Calls would go to instances that have left, and new ones would never get any."""
    second = pair.lab.echo_service("echo-2")
    sidecar = add_service(pair.dc2, "echo", second.port, instance="echo-2")
    wait_for(lambda: sorted(entry["Service"]["ID"] for entry in pair.seen("echo")) == ["echo", "echo-2"],
             "both instances to be seen")
    wait_for(lambda: pair.tcp() == "echo-2: ping", "the second instance to be called")
    pair.dc2.put("/v1/agent/service/deregister/echo-2")
    wait_for(lambda: [entry["Service"]["ID"] for entry in pair.seen("echo")] == ["echo"],
             "the second instance to vanish")
    wait_for(lambda: all(pair.tcp() == "echo: ping" for _ in range(8)), "only the first to be called")
    sidecar.process.stop()


def test_a_critical_instance_is_not_called(pair):
    """A broken instance at the far end would fail every other call of ours."""
    second = pair.lab.echo_service("echo-2")
    pair.dc2.register({
        "Name": "echo", "ID": "echo-2", "Port": second.port, "Address": "127.0.0.1",
        "Check": {"CheckID": "feels-well", "TTL": "1h", "Status": "passing"},
        "Connect": {"SidecarService": {"Port": free_port()}}})
    sidecar = Envoy(pair.dc2, "echo-2 sidecar", ["-sidecar-for=echo-2"])
    wait_for(lambda: pair.tcp() == "echo-2: ping", "the second instance to be called")
    pair.dc2.put("/v1/agent/check/fail/feels-well?note=ill")

    def statuses():
        return {entry["Service"]["ID"]: [check["Status"] for check in entry["Checks"]]
                for entry in pair.seen("echo")}
    wait_for(lambda: "critical" in statuses()["echo-2"], "the source to see it critical")
    assert [entry["Service"]["ID"] for entry in
            pair.dc1.get(f"/v1/health/service/echo?peer={THERE}&passing")] == ["echo"]
    wait_for(lambda: all(pair.tcp() == "echo: ping" for _ in range(8)), "only the healthy one to be called")
    pair.dc2.put("/v1/agent/check/pass/feels-well")
    wait_for(lambda: pair.tcp() == "echo-2: ping", "the recovered one to be called again")
    pair.dc2.put("/v1/agent/service/deregister/echo-2")
    sidecar.process.stop()


def test_a_change_of_protocol_crosses_the_peering(pair):
    """Callers would speak the old protocol to a service that has changed, and get resets."""
    pair.protocol("tcp")
    wait_for(lambda: pair.http() == 200, "the call as TCP")
    pair.allow_nothing()
    wait_for(lambda: pair.http() == 0, "a refusal as TCP knows it: no answer")
    pair.protocol("http")
    wait_for(lambda: pair.http() == 403, "a refusal as HTTP knows it: 403")
    pair.allow("backend")
    wait_for(lambda: pair.http() == 200, "the call as HTTP")


def test_an_upstream_whose_peer_comes_later(pair, lab):
    """Teams register their services before the operators have peered; nobody should have to restart."""
    port = free_port()
    early = add_service(pair.dc1, "early", free_port(), [pair.upstream("echo", port, "not-yet")])
    early.wait_listener("public_listener")
    assert tcp_call(port) == ""
    wait_for(lambda: "no way yet to upstreams echo?peer=not-yet" in pair.dc1.process.text(),
             "the agent's log to say that there is no such peer")
    proxy = pair.dc1.get("/v1/agent/service/early-sidecar-proxy")
    assert proxy["UpstreamsWaiting"] == {"echo?peer=not-yet": 'there is no peering named "not-yet" yet'}
    echo = lab.echo_service("far-echo")
    far = lab.agent("dc3", config='default_intention_policy = "deny"')
    add_gateway(far)
    add_service(far, "echo", echo.port)
    export(far, ["echo"], ["from-dc1"])
    intend(far, "echo", "early", "from-dc1")
    peer(far, pair.dc1, "from-dc1", "not-yet")
    wait_for(lambda: tcp_call(port) == "far-echo: ping", "the upstream to work")
    assert "UpstreamsWaiting" not in pair.dc1.get("/v1/agent/service/early-sidecar-proxy")
    assert pair.tcp() == "echo: ping"
    pair.dc1.api("DELETE", "/v1/peering/not-yet")
    pair.dc1.put("/v1/agent/service/deregister/early")
    wait_for(lambda: tcp_call(port) == "", "the upstream to end with the peering")
    early.process.stop()
    wait_for(lambda: len(pair.dc1.get("/v1/peerings")) == 1, "the peering to be gone")


@pytest.mark.parametrize("mode", ["local", "remote"])
def test_gateway_modes(pair, mode):
    """In networks where sidecars may not reach out, all traffic must leave by the own gateway."""
    pair.dc1.config_entry({"Kind": "proxy-defaults", "Name": "global", "MeshGateway": {"Mode": mode}})
    wanted = pair.gateway1.port if mode == "local" else pair.gateway2.port

    def goes_there():
        clusters = pair.frontend.admin("/clusters").text
        endpoints = {line.split("::")[1] for line in clusters.splitlines()
                     if line.startswith("echo.") and "::127.0.0.1:" in line}
        return endpoints == {f"127.0.0.1:{wanted}"}
    wait_for(goes_there, f"the sidecar to use the gateway of mode {mode}")
    pair.wait_calls()
    pair.dc1.api("DELETE", "/v1/config/proxy-defaults/global")
