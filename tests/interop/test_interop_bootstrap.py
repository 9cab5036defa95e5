"""`connect envoy -bootstrap` of a Consul and of a Pons, for the same registration."""
import json
import re

import pytest

from harness import free_port

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
    assert pons == consul
