"""`connect envoy -bootstrap` of a Consul and of a Pons, for the same registration."""
import json
import re

import pytest

from harness import Envoy, free_port, wait_for

SINK = {"name": "envoy.stat_sinks.statsd", "typed_config": {
    "@type": "type.googleapis.com/envoy.config.metrics.v3.StatsdSink",
    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 8125}}}}
CLUSTER = {"name": "collector", "type": "STATIC", "connect_timeout": "1s", "load_assignment": {"cluster_name": "collector"}}
LISTENER = {"name": "mine", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 9999}}}
ALL = {
    "envoy_statsd_url": "udp://127.0.0.1:8125", "envoy_dogstatsd_url": "unix:///run/dogstatsd.sock",
    "envoy_extra_stats_sinks_json": json.dumps(SINK), "envoy_stats_flush_interval": "2s",
    "envoy_stats_tags": ["Canary", "zone=eu", "local_cluster=mine"],
    "envoy_prometheus_bind_addr": "0.0.0.0:9102", "envoy_stats_bind_addr": "[::1]:9103",
    "envoy_extra_static_clusters_json": json.dumps(CLUSTER) + "," + json.dumps({**CLUSTER, "name": "two"}),
    "envoy_extra_static_listeners_json": json.dumps(LISTENER),
    "envoy_tracing_json": '{"http": {"name": "x"}}',
}
CASES = {
    "nothing": ({}, []),
    "all": (ALL, ["-envoy-ready-bind-address=127.0.0.1", "-envoy-ready-bind-port=9104"]),
    "few tags": ({}, ["-omit-deprecated-tags"]),
    "own statistics": ({"envoy_stats_config_json": '{"stats_tags": [{"tag_name": "a", "fixed_value": "b"}]}'}, []),
    "own admin cluster": ({"envoy_extra_static_clusters_json": json.dumps({**CLUSTER, "name": "self_admin"}),
                           "envoy_stats_bind_addr": "127.0.0.1:9103"}, []),
    "merged metrics": ({"envoy_prometheus_bind_addr": "0.0.0.0:9102"},
                       ["-prometheus-backend-port=20100", "-prometheus-scrape-path=/all"]),
    "metrics over TLS": ({"envoy_prometheus_bind_addr": "0.0.0.0:9102"},
                         ["-prometheus-cert-file=/c", "-prometheus-key-file=/k", "-prometheus-ca-file=/ca"]),
    "metrics over TLS, folder of CAs": ({"envoy_prometheus_bind_addr": "0.0.0.0:9102"},
                                        ["-prometheus-cert-file=/c", "-prometheus-key-file=/k", "-prometheus-ca-path=/ca"]),
    "nothing of the configuration": (ALL, ["-no-central-config"]),
}


def settled(value):
    """Envoy takes a field's name in either spelling."""
    if isinstance(value, dict):
        return {key if "." in key else re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", key): settled(child)
                for key, child in value.items()}
    return [settled(child) for child in value] if isinstance(value, list) else value


def as_consul_writes_tags(tags):
    """Named difference "expressions that fail early": the same tags, by expressions that cost Envoy less."""
    written = []
    for tag in tags:
        regex = tag.get("regex", "")
        if regex.startswith("^tcp"):
            assert {"tag_name": tag["tag_name"], "regex": regex.replace("^tcp", "^http")} in tags
            tag = {**tag, "regex": regex.replace("^tcp", "^(?:tcp|http)")}
        elif regex.startswith("^cluster"):
            tag = {**tag, "regex": regex.replace("(?:in|ex)ternal[^.]*", "[^.]+").replace("\\.)??", "\\.)?")}
        if not regex.startswith("^http"):
            written.append(tag)
    return written


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    from harness import Lab
    lab = Lab(tmp_path_factory.mktemp("bootstrap"))
    yield lab.consul("dc1"), lab.agent("dc1")
    lab.close()


@pytest.mark.parametrize("case", CASES)
def test_the_same_bootstrap(both, case):
    """Whoever post-processes the bootstrap, or relies on its listeners and tags, finds what Consul writes."""
    config, arguments = CASES[case]
    sidecar_port, printed = free_port(), []
    for agent in both:
        agent.register({"Name": "web", "Port": 80, "Connect": {"SidecarService": {"Port": sidecar_port, "Proxy": {"Config": config}}}})
        done = agent.cli("connect", "envoy", "-sidecar-for=web", "-bootstrap", "-admin-bind=127.0.0.1:19000",
                         "-grpc-addr=127.0.0.1:8502", *arguments)
        printed.append(settled(json.loads(done.stdout)))
    consul, pons = printed
    pons["stats_config"]["stats_tags"] = as_consul_writes_tags(pons["stats_config"]["stats_tags"])
    assert pons == consul


ID = "11111111-2222-3333-4444-555555555555.consul"
CLUSTERS = [f"{name}.{ID}" for name in (
    "web.default.dc1.internal", "v2.web.default.dc1.internal", "1f~web.default.dc1.internal", "1f~v2.web.default.dc1.internal-v1",
    "passthrough~web.default.dc1.internal", "passthrough~1f~web.default.dc1.internal", "exported~web.default.dc1.internal",
    "v2.web.default.part.dc1.internal", "1f~v2.web.ns.part.dc1.internal", "web.default.peer1.external",
    "web.ns.part.peer1.external", "web.ns.default.peer1.external", "server.dc1.peering", "dc2.internal",
    "internal.web.default.external.internal", "external.internal.internal.internal", "web.default.internal.internal")]
LISTENERS = ["upstream.web.default.dc1", "upstream.web.dc1", "upstream.web.ns.part.dc1", "upstream_peered.web.default.peer1",
             "upstream_peered.web.peer1", "public_listener"]


def listener(prefix):
    manager = {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
               "route_config": {}, "stat_prefix": prefix, "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                   "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}
    proxy = {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "cluster": "local_agent",
             "stat_prefix": prefix}
    return json.dumps({"name": prefix, "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}, "filter_chains": [
        {"filters": [{"name": "x", "typed_config": config}], "filter_chain_match": match}
        for config, match in ((manager, {"application_protocols": ["http"]}), (proxy, {}))]})


def test_the_same_tags(both):
    """Dashboards read these: whatever a cluster or a listener is called, its statistics have the same tags and values."""
    config = {"envoy_extra_static_listeners_json": ",".join(listener(prefix) for prefix in LISTENERS),
              "envoy_extra_static_clusters_json": ",".join(json.dumps({
                  "name": name, "type": "STATIC", "load_assignment": {"cluster_name": name}}) for name in CLUSTERS)}
    shown = []
    for agent in both:
        agent.register({"Name": "tags", "Port": 80, "Connect": {"SidecarService": {"Proxy": {"Config": config}}}})
        envoy = Envoy(agent, f"tags of {type(agent).__name__}", ["-sidecar-for=tags"]).wait_listener("public_listener:")
        lines = wait_for(lambda: envoy.admin("/stats/prometheus").text.splitlines(), "statistics")
        shown.append({(line.split("{")[0], frozenset(re.findall(r'[\w.]+="[^"]*"', line)))
                      for line in lines if re.match("envoy_(cluster|tcp|http)_", line) and not re.search("local_app|local_agent|_bucket", line)})
        envoy.process.stop()
    consul, pons = shown
    tagged = {label.split("=")[0] for _, labels in consul for label in labels}
    assert {f"consul_destination_{part}" for part in ("peer", "partition", "custom_hash", "routing_type", "full_target")} <= tagged
    assert {f"consul_upstream_{part}" for part in ("service", "namespace", "partition", "datacenter", "peer")} <= tagged
    assert pons == consul
