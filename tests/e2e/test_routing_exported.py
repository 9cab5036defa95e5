"""What is exported is routed by the exporter: its routers, splitters and resolvers hold at its gateway."""
import pytest

from harness import (add_gateway, add_service, export, free_port, http_call, peer, status_of, tcp_call, wait_for)
from test_routing import SUBSETS, add_version


class Clusters:
    def __init__(self, lab):
        self.lab = lab
        self.near, self.far = near, far = [lab.agent(name, config='default_intention_policy = "deny"')
                                      for name in ("dc1", "dc2")]
        for name in ("backend", "other"):
            far.config_entry({"Kind": "service-defaults", "Name": name, "Protocol": "http"})
        add_gateway(near)
        add_gateway(far)
        for version in ("v1", "v2"):
            add_version(far, "backend", version, lab.http_service(version).port)
            add_version(far, "echo", version, lab.echo_service(version).port)
        add_service(far, "other", lab.http_service("other").port)
        add_service(far, "echo-too", lab.echo_service("too").port)
        peer(far, near, "dc1", "dc2")
        export(far, ["backend", "echo"], ["dc1"])
        for name in ("backend", "other", "echo", "echo-too"):
            far.config_entry({"Kind": "service-intentions", "Name": name, "Sources": [
                {"Name": "frontend", "Peer": "dc1", "Action": "allow"}]})
        self.ports = {name: free_port() for name in ("backend", "echo")}
        add_service(near, "frontend", free_port(), [
            {"DestinationName": name, "DestinationPeer": "dc2", "LocalBindPort": port}
            for name, port in self.ports.items()])
        wait_for(lambda: status_of(self.ports["backend"]) == 200, "a call to the peer")
        wait_for(lambda: tcp_call(self.ports["echo"]) != "", "a TCP call to the peer")

    def write(self, kind, name, **fields):
        self.far.config_entry({"Kind": kind, "Name": name, **fields})

    def who(self, path="/"):
        try:
            answer = http_call(self.ports["backend"], path)
        except OSError:
            return None
        return answer.text.split()[2].rstrip(":") if answer.status == 200 else answer.status

    def everyone(self, calls=12, **options):
        return {self.who(**options) for _ in range(calls)}


@pytest.fixture(scope="module")
def clusters(module_lab, envoys):
    return Clusters(module_lab)


def test_the_exporters_chain_decides(clusters):
    """Callers of another cluster get the version, the share and the route that the service's owners chose."""
    clusters.write("service-resolver", "backend", DefaultSubset="v1", Subsets=SUBSETS)
    wait_for(lambda: clusters.everyone() == {"v1"}, "the default subset")
    clusters.write("service-splitter", "backend", Splits=[
        {"Weight": 50, "ServiceSubset": "v1"},
        {"Weight": 50, "ServiceSubset": "v2", "ResponseHeaders": {"Set": {"x-split": "two"}}}])
    wait_for(lambda: clusters.everyone() == {"v1", "v2"}, "the split")
    clusters.write("service-router", "backend", Routes=[
        {"Match": {"HTTP": {"PathPrefix": "/other"}}, "Destination": {"Service": "other", "PrefixRewrite": "/"}},
        {"Match": {"HTTP": {"PathExact": "/two"}}, "Destination": {"ServiceSubset": "v2"}}])
    wait_for(lambda: clusters.everyone(path="/other/x") == {"other"}, "the route to another service")
    assert clusters.everyone(path="/two") == {"v2"}
    for kind in ("router", "splitter", "resolver"):
        clusters.far.api("DELETE", f"/v1/config/service-{kind}/backend")
    wait_for(lambda: clusters.everyone(path="/two") == {"v1", "v2"}, "calls to reach every instance again")


def test_tcp_goes_where_the_exporters_resolver_says(clusters):
    """The caller checks who answers: it must know the names of all that may."""
    echo = clusters.ports["echo"]
    clusters.write("service-resolver", "echo", DefaultSubset="v2", Subsets=SUBSETS)
    wait_for(lambda: {tcp_call(echo) for _ in range(8)} == {"v2: ping"}, "the default subset")
    clusters.write("service-resolver", "echo", Redirect={"Service": "echo-too"})
    wait_for(lambda: {tcp_call(echo) for _ in range(8)} == {"too: ping"}, "the redirect")
    clusters.far.api("DELETE", "/v1/config/service-resolver/echo")
    wait_for(lambda: {tcp_call(echo) for _ in range(16)} == {"v1: ping", "v2: ping"}, "both again")
