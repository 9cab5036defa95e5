"""The same definitions in a pair of Consul clusters and in a pair of Pons clusters: Envoys get the same resources.

Every difference that there is must match one of NAMED, which docs/compatibility.md explains, and each of those
must be seen, so that neither can grow without the other.
"""
import json
import re

import pytest

from harness import Envoy, Lab, export, free_port, wait_for
from normal import Names, differences, settled

# name: (where, whether the two values are what the difference means)
NAMED = {
    "calling identity by URI alone": (
        r"set_current_client_cert_details\.(cert|chain|dns|subject)$", lambda consul, pons: (consul, pons) == (True, None)),
    "no header_to_metadata": (
        r"http_filters\.envoy\.filters\.http\.header_to_metadata$", lambda consul, pons: pons is None),
    "gRPC knows its caller too": (
        r"^rpc\.listener/.*(forward_client_cert_details|set_current_client_cert_details)$"
        r"|^rpc\.listener/.*virtual_hosts\[0\]\.routes\[0\]\.request_headers_to_remove$",
        lambda consul, pons: consul is None and pons in ("APPEND_FORWARD", {"uri": True}, ["x-forwarded-client-cert"])),
    "a dot is a dot": (
        r"safe_regex\.regex$", lambda consul, pons: pons.replace("\\.consul/", ".consul/") == consul),
    "the last gateway is not ejected": (
        r"\.external\.<id of 2>.consul\.outlier_detection\.max_ejection_percent$", lambda consul, pons: (consul, pons) == (100, 99)),
    "nothing leads to what is not exported": (
        r"^web\.(cluster|endpoint|listener)/gone", lambda consul, pons: pons is None),
}


def inline_rules(resources):
    """Pons keeps the rules of who may call in the route, which comes by RDS, and has the filter itself deny: put
    the way Consul writes it, so that the rules themselves can be compared."""
    for name, listener in list(resources.items()):
        if not name.startswith("listener/public_listener") or "route/public_listener" not in resources:
            continue
        hcm = next(chain_filter for chain_filter in listener["filter_chains"][0]["filters"]
                   if "http_connection_manager" in chain_filter["name"])["typed_config"]
        assert hcm.pop("rds")["route_config_name"] == "public_listener"
        route = resources.pop("route/public_listener")
        route.pop("@type")
        rules = route["virtual_hosts"][0].pop("typed_per_filter_config")["envoy.filters.http.rbac"]["rbac"]["rules"]
        rbac = next(http_filter for http_filter in hcm["http_filters"] if http_filter["name"] == "envoy.filters.http.rbac")
        assert rbac["typed_config"].pop("rules") == {}
        rbac["typed_config"]["rules"] = rules
        hcm["route_config"] = route
    return resources

PORTS = {name: free_port() for name in ("api", "echo", "rpc", "cache", "page", "peer-api", "peer-echo", "peer-rpc",
                                        "local-cache", "local-page", "gone", "open", "open-local",
                                        "open-grpc")}


class World:
    """Two peered clusters of one kind: dc1 with `web` that calls, dc2 with what is called."""

    def __init__(self, lab, make, policy):
        self.names = Names()
        config = f'default_intention_policy = "{policy}"\n'
        self.one, self.two = make(lab, "dc1", config=config), make(lab, "dc2", config=config)
        for number, agent in (("1", self.one), ("2", self.two)):
            for port in ("grpc_tls", "grpc"):
                self.names.add(f"{port} {number}", agent.ports[port])
        self.envoys = {}
        for agent in (self.one, self.two):
            agent.config_entry({"Kind": "mesh", "Peering": {"PeerThroughMeshGateways": True}})
            if policy == "deny" and agent is self.two:
                self.options(agent)
            if policy == "deny":
                agent.config_entry({"Kind": "service-defaults", "Name": "mesh-gateway", "MaxInboundConnections": 5,
                                    "UpstreamConfig": {"Defaults": {"Limits": {
                                        "MaxConnections": 7, "MaxPendingRequests": 8, "MaxConcurrentRequests": 9}}}})
            self.gateway(agent)
        self.define_two(policy)
        self.define_one()
        self.peer()
        for number, agent in (("1", self.one), ("2", self.two)):
            domain = agent.trust_domain().removesuffix(".consul")
            self.names.add(f"id of {number}", domain)

    def options(self, agent):
        """What mesh and proxy-defaults can say of proxies."""
        agent.config_entry({
            "Kind": "mesh", "Peering": {"PeerThroughMeshGateways": True},
            "TLS": {"Incoming": {"TLSMinVersion": "TLSv1_2", "CipherSuites": ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]},
                    "Outgoing": {"TLSMaxVersion": "TLSv1_3"}},
            "HTTP": {"Incoming": {"RequestNormalization": {
                "InsecureDisablePathNormalization": True, "MergeSlashes": True,
                "PathWithEscapedSlashesAction": "UNESCAPE_AND_FORWARD", "HeadersWithUnderscoresAction": "DROP_HEADER"}}}})
        agent.config_entry({"Kind": "proxy-defaults", "Name": "global", "AccessLogs": {"Enabled": True}})

    def gateway(self, agent):
        lan, wan, extra = free_port(), free_port(), free_port()
        number = agent.datacenter[-1]
        for name, port in (("lan", lan), ("wan", wan), ("extra", extra)):
            self.names.add(f"gateway {name} {number}", port)
        agent.register({
            "Kind": "mesh-gateway", "Name": "mesh-gateway", "Address": "127.0.0.1", "Port": lan,
            "TaggedAddresses": {"lan": {"Address": "127.0.0.1", "Port": lan},
                                "wan": {"Address": "127.0.0.1", "Port": wan}},
            "Proxy": {"Config": {
                "envoy_gateway_no_default_bind": True, "envoy_gateway_bind_tagged_addresses": True,
                "envoy_gateway_bind_addresses": {"extra": {"address": "127.0.0.1", "port": extra}},
                "connect_timeout_ms": 7000, "envoy_gateway_remote_tcp_enable_keepalive": True,
                "envoy_gateway_remote_tcp_keepalive_time": 120}}})
        self.envoys[f"gateway {number}"] = Envoy(agent, f"gateway {agent.datacenter}", ["-gateway=mesh"])

    def sidecar(self, agent, name, proxy=None, upstreams=(), expose=()):
        port = free_port()
        self.names.add(f"sidecar {name}", port)
        agent.register({
            "Name": name, "Port": PORTS.get(name, 1234), "Address": "127.0.0.1",
            "Connect": {"SidecarService": {
                "Port": port, "Checks": [{"Name": "Alias", "AliasService": name}],
                "Proxy": {"Upstreams": list(upstreams), "Config": proxy or {},
                          "Expose": {"Paths": list(expose)}}}}})
        return Envoy(agent, f"{name} {agent.datacenter}", [f"-sidecar-for={name}"])

    def define_two(self, policy):
        two = self.two
        for name, protocol in (("api", "http"), ("rpc", "grpc")):
            two.config_entry({"Kind": "service-defaults", "Name": name, "Protocol": protocol})
        self.envoys["api"] = self.sidecar(two, "api", {"local_connect_timeout_ms": 2000, "max_inbound_connections": 50,
                                                       "local_request_timeout_ms": 3000}, expose=[
            {"Path": "/healthz-1", "ListenerPort": PORTS["open"], "LocalPathPort": PORTS["open-local"]},
            {"Path": "/health", "ListenerPort": PORTS["open-grpc"], "LocalPathPort": PORTS["api"], "Protocol": "http2"}])
        self.envoys["echo"] = self.sidecar(two, "echo", {"max_inbound_connections": 40})
        self.envoys["rpc"] = self.sidecar(two, "rpc")
        export(two, ("api", "echo", "rpc"), ["cluster-01"])
        for name in ("api", "echo", "rpc"):
            two.config_entry({"Kind": "service-intentions", "Name": name, "Sources": [
                {"Name": "web", "Peer": "cluster-01", "Action": "allow"},
                {"Name": "bad", "Peer": "cluster-01", "Action": "deny"},
                {"Name": "good", "Action": "allow"},
                {"Name": "admin", "Action": "deny"}]})
        two.config_entry({"Kind": "service-intentions", "Name": "api", "Sources": [
            {"Name": "web", "Peer": "cluster-01", "Permissions": [
                {"Action": "deny", "HTTP": {"PathPrefix": "/private"}},
                {"Action": "allow", "HTTP": {"PathExact": "/a", "Methods": ["GET", "PUT"], "Header": [
                    {"Name": "h1", "Exact": "v", "IgnoreCase": True}, {"Name": "h2", "Prefix": "v", "Invert": True},
                    {"Name": "h3", "Suffix": "v"}, {"Name": "h4", "Contains": "v"}, {"Name": "h5", "Regex": "v+"},
                    {"Name": "h6", "Present": True}, {"Name": "h7", "Present": True, "Invert": True}]}},
                {"Action": "allow", "HTTP": {"PathRegex": "/b.*"}}, {"Action": "deny", "HTTP": {"Methods": ["HEAD"]}}]},
            {"Name": "bad", "Peer": "cluster-01", "Action": "deny"},
            {"Name": "good", "Action": "allow"},
            {"Name": "nothing", "Permissions": [{"Action": policy, "HTTP": {"PathExact": "/"}}]},
            {"Name": "admin", "Permissions": [{"Action": "deny", "HTTP": {"PathPrefix": "/"}}]},
            {"Name": "*", "Permissions": [{"Action": "allow", "HTTP": {"PathExact": "/all"}}]},
            {"Name": "*", "Peer": "cluster-01", "Action": "allow"}]})
        two.config_entry({"Kind": "service-intentions", "Name": "*", "Sources": [{"Name": "*", "Action": "deny"}]})

    def define_one(self):
        one = self.one
        one.config_entry({"Kind": "service-defaults", "Name": "page", "Protocol": "http"})
        for name in ("cache", "page"):
            port = free_port()
            self.names.add(f"sidecar {name}", port)
            one.register({"Name": name, "Port": PORTS[name], "Address": "127.0.0.1",
                          "Connect": {"SidecarService": {"Port": port, "Checks": [
                              {"Name": "Alias", "AliasService": name}]}}})
        self.envoys["web"] = self.sidecar(one, "web", upstreams=[
            {"DestinationName": "api", "DestinationPeer": "cluster-02", "LocalBindPort": PORTS["peer-api"],
             "Config": {"connect_timeout_ms": 1500, "limits": {"max_connections": 9, "max_pending_requests": 8},
                        "passive_health_check": {"interval": "7s", "max_failures": 3}}},
            {"DestinationName": "echo", "DestinationPeer": "cluster-02", "LocalBindPort": PORTS["peer-echo"],
             "MeshGateway": {"Mode": "local"}},
            {"DestinationName": "rpc", "DestinationPeer": "cluster-02", "LocalBindPort": PORTS["peer-rpc"]},
            {"DestinationName": "cache", "LocalBindPort": PORTS["local-cache"]},
            {"DestinationName": "page", "LocalBindPort": PORTS["local-page"]},
            {"DestinationName": "gone", "DestinationPeer": "cluster-02", "LocalBindPort": PORTS["gone"]}])

    def peer(self):
        gateway = self.envoys["gateway 2"]
        wait_for(lambda: ".peering." in json.dumps(gateway.admin("/config_dump?resource=dynamic_listeners").json()),
                 "the way to the server")
        token = wait_for(lambda: self.two.api("POST", "/v1/peering/token", {"PeerName": "cluster-01"}).json(), "a token")
        self.one.api("POST", "/v1/peering/establish", {"PeerName": "cluster-02", **token})
        wait_for(lambda: self.one.get("/v1/peering/cluster-02")["State"] == "ACTIVE", "the peering")
        wait_for(lambda: sorted(self.one.get("/v1/peering/cluster-02")["StreamStatus"]["ImportedServices"])
                 == ["api", "echo", "rpc"], "the imports")

    def resources(self):
        return {name: settled(envoy, self.names) for name, envoy in self.envoys.items()}


@pytest.mark.parametrize("policy", ["deny", "allow"])
def test_same_resources(lab, policy):
    consul = World(lab, Lab.consul, policy)
    pons = World(lab, Lab.agent, policy)
    wait_for(lambda: "exported~rpc" in json.dumps(pons.envoys["gateway 2"].dump()), "exports")
    wait_for(lambda: "exported~rpc" in json.dumps(consul.envoys["gateway 2"].dump()), "exports")
    found = differences(consul.resources(), {name: inline_rules(one) for name, one in pons.resources().items()})
    unnamed, seen = [], set()
    for path, left, right in found:
        rule = next((name for name, (where, holds) in NAMED.items()
                     if re.search(where, path) and holds(left, right)), None)
        seen.add(rule)
        if rule is None:
            unnamed.append(f"{path}\n    consul: {json.dumps(left)}\n    pons:   {json.dumps(right)}")
    assert not unnamed, "\n".join(["differences without a name:", *unnamed])
    assert seen == set(NAMED), "a difference that is gone"
