"""Routing: what service-router, service-splitter and service-resolver say is where calls go."""
import collections

import pytest

from harness import Envoy, add_service, free_port, http_call, request, status_of, tcp_call, wait_for

SUBSETS = {"v1": {"Filter": "Service.Meta.version == v1"}, "v2": {"Filter": "Service.Meta.version == v2"}}
# What others point at goes last.
ENTRIES = [("service-splitter", "alias"), ("service-resolver", "alias"), ("service-router", "backend"),
           ("service-splitter", "backend"), ("service-resolver", "backend"), ("service-resolver", "echo")]


def add_version(agent, name, version, port):
    instance = f"{name}-{version}"
    agent.register({
        "Name": name, "ID": instance, "Port": port, "Address": "127.0.0.1", "Meta": {"version": version},
        "Connect": {"SidecarService": {"Port": free_port()}}})
    return Envoy(agent, f"{instance} sidecar", [f"-sidecar-for={instance}"])


class Cluster:
    def __init__(self, lab):
        self.lab = lab
        self.agent = agent = lab.agent("dc1")
        for name in ("backend", "alias", "other"):
            agent.config_entry({"Kind": "service-defaults", "Name": name, "Protocol": "http"})
        self.services = {}
        for version in ("v1", "v2"):
            service = self.services[version] = lab.http_service(version)
            add_version(agent, "backend", version, service.port)
            add_version(agent, "echo", version, lab.echo_service(version).port)
        add_service(agent, "other", lab.http_service("other").port)
        self.ports = {name: free_port() for name in ("backend", "alias", "echo")}
        self.frontend = add_service(agent, "frontend", free_port(), [
            {"DestinationName": name, "LocalBindPort": port} for name, port in self.ports.items()])
        for name in self.ports:
            self.frontend.wait_listener(f"{name}:")

    def write(self, kind, name, **fields):
        self.agent.config_entry({"Kind": kind, "Name": name, **fields})

    def refused(self, kind, name, **fields):
        answer = self.agent.api("PUT", "/v1/config", {"Kind": kind, "Name": name, **fields}, ok=False)
        assert answer.status == 500, answer
        return answer.text

    def who(self, name="backend", path="/", headers=None):
        try:
            answer = request("GET", f"http://127.0.0.1:{self.ports[name]}{path}", headers=headers, timeout=5)
        except OSError:
            return None
        return answer.text.split()[2].rstrip(":") if answer.status == 200 else answer.status

    def counts(self, calls=40, **options):
        return collections.Counter(self.who(**options) for _ in range(calls))


@pytest.fixture(scope="module")
def shared(module_lab, envoys):
    return Cluster(module_lab)


@pytest.fixture
def cluster(shared):
    for kind, name in ENTRIES:
        shared.agent.api("DELETE", f"/v1/config/{kind}/{name}")
    wait_for(lambda: set(shared.counts(10)) == {"v1", "v2"}, "calls to reach every instance")
    return shared


def test_a_default_subset_takes_all_calls(cluster):
    """Blue and green: all callers move to a version by one entry, and back by another."""
    for version in ("v1", "v2", "v1"):
        cluster.write("service-resolver", "backend", DefaultSubset=version, Subsets=SUBSETS)
        wait_for(lambda: set(cluster.counts(10)) == {version}, f"only {version} to answer")


def test_a_subset_of_a_tcp_service(cluster):
    """What routes by request is for HTTP; subsets are for every service."""
    cluster.write("service-resolver", "echo", DefaultSubset="v2", Subsets=SUBSETS)
    wait_for(lambda: {tcp_call(cluster.ports["echo"]) for _ in range(10)} == {"v2: ping"}, "only v2 to answer")
    cluster.write("service-resolver", "echo", DefaultSubset="v1", Subsets=SUBSETS)
    wait_for(lambda: {tcp_call(cluster.ports["echo"]) for _ in range(10)} == {"v1: ping"}, "only v1 to answer")


def test_a_subset_without_instances_serves_nobody(cluster):
    """A canary that is not there must not be played by what is."""
    cluster.write("service-resolver", "backend", DefaultSubset="v3",
                  Subsets={"v3": {"Filter": "Service.Meta.version == v3"}})
    wait_for(lambda: status_of(cluster.ports["backend"]) == 503, "nobody to answer")


def test_a_redirect_moves_callers_to_another_service(cluster):
    """A service is renamed, or moved, and its callers need not know; the target's identity is checked."""
    cluster.write("service-resolver", "alias", Redirect={"Service": "other"})
    wait_for(lambda: cluster.who("alias") == "other", "the redirect")
    cluster.write("service-resolver", "backend", Subsets=SUBSETS)
    cluster.write("service-resolver", "alias", Redirect={"Service": "backend", "ServiceSubset": "v2"})
    wait_for(lambda: cluster.who("alias") == "v2", "the redirect to a subset")


def test_splits_share_the_calls(cluster):
    """A canary takes its share, no more; headers say which one answered."""
    cluster.write("service-resolver", "backend", Subsets=SUBSETS)
    cluster.write("service-splitter", "backend", Splits=[
        {"Weight": 100, "ServiceSubset": "v1", "ResponseHeaders": {"Set": {"x-split": "one"}}},
        {"Weight": 0, "ServiceSubset": "v2", "ResponseHeaders": {"Set": {"x-split": "two"}}}])
    wait_for(lambda: set(cluster.counts(10)) == {"v1"}, "all calls at v1")
    assert http_call(cluster.ports["backend"]).headers["x-split"] == "one"
    cluster.write("service-splitter", "backend", Splits=[
        {"Weight": 89.5, "ServiceSubset": "v1"}, {"Weight": 10.5, "ServiceSubset": "v2"}])
    wait_for(lambda: "v2" in cluster.counts(), "the canary to get calls")
    counts = cluster.counts(400)
    assert 10 < counts["v2"] < 100 and counts["v1"] + counts["v2"] == 400


def test_splitters_in_a_row_multiply(cluster):
    """Teams split their own services; one that splits to another's gets the other's shares."""
    cluster.write("service-resolver", "backend", Subsets=SUBSETS)
    cluster.write("service-splitter", "backend", Splits=[
        {"Weight": 0, "ServiceSubset": "v1"}, {"Weight": 100, "ServiceSubset": "v2"}])
    cluster.write("service-splitter", "alias", Splits=[
        {"Weight": 50, "Service": "backend"}, {"Weight": 50, "Service": "other"}])
    wait_for(lambda: set(cluster.counts(30, name="alias")) == {"v2", "other"}, "both ways")


def test_routes_choose_by_the_request(cluster):
    """Path, header, query and method each lead where the entry says, the first match wins."""
    cluster.write("service-resolver", "backend", DefaultSubset="v1", Subsets=SUBSETS)
    to_v2 = {"ServiceSubset": "v2"}
    cluster.write("service-router", "backend", Routes=[
        {"Match": {"HTTP": {"PathExact": "/exact"}}, "Destination": to_v2},
        {"Match": {"HTTP": {"PathPrefix": "/canary"}},
         "Destination": {"ServiceSubset": "v2", "PrefixRewrite": "/echo", "RequestTimeout": "7s", "NumRetries": 2,
                         "RetryOnConnectFailure": True, "RetryOnStatusCodes": [503],
                         "RequestHeaders": {"Set": {"x-canary": "yes"}, "Remove": ["x-secret"]},
                         "ResponseHeaders": {"Add": {"x-routed": "100%%"}}}},
        {"Match": {"HTTP": {"PathRegex": "/re[0-9]+"}}, "Destination": {"Service": "other"}},
        {"Match": {"HTTP": {"Header": [{"Name": "x-debug", "Exact": "1"}]}}, "Destination": to_v2},
        {"Match": {"HTTP": {"QueryParam": [{"Name": "debug", "Present": True}]}}, "Destination": to_v2},
        {"Match": {"HTTP": {"Methods": ["HEAD"]}}, "Destination": {"Service": "other"}}])
    wait_for(lambda: cluster.who(path="/re12") == "other", "the routes")
    assert cluster.who(path="/exact") == "v2"
    assert cluster.who(path="/exact/not") == "v1"
    assert cluster.who(headers={"x-debug": "1"}) == "v2"
    assert cluster.who(headers={"x-debug": "2"}) == "v1"
    assert cluster.who(path="/?debug=") == "v2"
    assert cluster.who() == "v1"
    answer = http_call(cluster.ports["backend"], "/canary/x")
    assert answer.text.strip() == "hello from v2: /echo/x"
    assert answer.headers["x-routed"] == "100%"
    seen = {name.lower(): value for name, value in cluster.services["v2"].seen[-1].items()}
    assert seen["x-canary"] == "yes"


def test_a_request_time_out_holds(cluster):
    """A caller is told in time that a service hangs."""
    cluster.write("service-resolver", "backend", DefaultSubset="v1", Subsets=SUBSETS, RequestTimeout="300ms",
                  ConnectTimeout="2s")
    wait_for(lambda: set(cluster.counts(5)) == {"v1"}, "only v1 to answer")
    cluster.services["v1"].gate.clear()
    try:
        assert status_of(cluster.ports["backend"]) == 504
    finally:
        cluster.services["v1"].gate.set()


def test_the_chain_can_be_read(cluster):
    """Operators and dashboards see how a call is routed without asking an Envoy."""
    cluster.write("service-resolver", "backend", DefaultSubset="v1", Subsets=SUBSETS)
    chain = cluster.agent.get("/v1/discovery-chain/backend")["Chain"]
    assert chain["StartNode"] == "resolver:v1.backend.default.default.dc1"
    assert "Default" not in chain and chain["Protocol"] == "http"
    assert cluster.agent.get("/v1/discovery-chain/nobody")["Chain"]["Default"] is True
    chain = cluster.agent.api("POST", "/v1/discovery-chain/web", {
        "OverrideMeshGateway": {"Mode": "local"}, "OverrideProtocol": "grpc",
        "OverrideConnectTimeout": "22s"}).json()["Chain"]
    assert (chain["CustomizationHash"], chain["Protocol"]) == ("98809527", "grpc")


def test_what_does_not_fit_together_is_refused(cluster):
    """An entry that would break a chain must not be found out by calls that fail."""
    assert "does not have a subset named \"v1\"" in cluster.refused(
        "service-splitter", "backend", Splits=[{"Weight": 100, "ServiceSubset": "v1"}])
    assert "does not permit advanced routing" in cluster.refused(
        "service-splitter", "echo", Splits=[{"Weight": 100}])
    assert "inconsistent protocols" in cluster.refused("service-resolver", "alias", Redirect={"Service": "echo"})
    cluster.write("service-resolver", "alias", Redirect={"Service": "backend"})
    assert "circular resolver redirect" in cluster.refused(
        "service-resolver", "backend", Redirect={"Service": "alias"})
    assert "inconsistent protocols" in cluster.refused("service-defaults", "backend", Protocol="grpc")
    cluster.write("service-resolver", "backend", Subsets=SUBSETS)
    cluster.write("service-splitter", "backend", Splits=[{"Weight": 100, "ServiceSubset": "v1"}])
    answer = cluster.agent.api("DELETE", "/v1/config/service-resolver/backend", ok=False)
    assert answer.status == 500 and "subset" in answer.text
    assert "Failover in service-resolver is not supported" in cluster.refused(
        "service-resolver", "other", Failover={"*": {"Service": "backend"}})
