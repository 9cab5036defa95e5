"""What a proxy's configuration adds to the bootstrap of its Envoy: statistics, listeners, and JSON of the user's own."""
import json
import os
import socket

import pytest

from harness import Envoy, find_envoy, free_port, request, run, wait_for

CLUSTER = '{"name": "collector", "type": "STATIC", "connect_timeout": "1s", "load_assignment": {"cluster_name": "collector"}}'


@pytest.fixture(scope="module")
def agent(module_lab, envoys):
    return module_lab.agent("dc1")


def register(agent, name, config):
    agent.register({"Name": name, "Port": 80, "Connect": {"SidecarService": {"Port": free_port(), "Proxy": {"Config": config}}}})


def bootstrap(agent, config, *arguments, check=True, name="boot"):
    register(agent, name, config)
    return agent.cli("connect", "envoy", f"-sidecar-for={name}", "-bootstrap", *arguments, check=check)


def test_statistics_over_http(agent):
    """Prometheus scrapes a port of each Envoy, orchestrators ask another whether it is ready; the admin port, which can
    do harm, stays closed to both."""
    metrics, stats, ready = free_port(), free_port(), free_port()
    register(agent, "shown", {"envoy_prometheus_bind_addr": f"127.0.0.1:{metrics}",
                              "envoy_stats_bind_addr": f"127.0.0.1:{stats}"})
    Envoy(agent, "shown", ["-sidecar-for=shown", "-prometheus-scrape-path=/scrape",
                           "-envoy-ready-bind-address=127.0.0.1", f"-envoy-ready-bind-port={ready}"])
    wait_for(lambda: request("GET", f"http://127.0.0.1:{ready}/ready").text == "LIVE\n", "Envoy to be ready")
    scraped = request("GET", f"http://127.0.0.1:{metrics}/scrape").text
    assert "# TYPE envoy_server_live gauge" in scraped and 'consul_source_service="shown"' in scraped
    assert "server.live: 1" in request("GET", f"http://127.0.0.1:{stats}/stats").text
    for port in (metrics, stats, ready):
        for path in ("/", "/config_dump", "/quitquitquit", "/metrics"):
            assert request("GET", f"http://127.0.0.1:{port}{path}").status == 404, (port, path)


def test_prometheus_over_tls_of_another_port(agent, tmp_path):
    """Merged metrics: the listener leads to a program beside Envoy, and asks for certificates."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=metrics", "-days", "1",
         "-keyout", str(key), "-out", str(cert)])
    port, backend = free_port(), agent.lab.http_service("merged")
    register(agent, "merged", {"envoy_prometheus_bind_addr": f"127.0.0.1:{port}"})
    Envoy(agent, "merged", ["-sidecar-for=merged", f"-prometheus-backend-port={backend.port}", f"-prometheus-ca-file={cert}",
                            f"-prometheus-cert-file={cert}", f"-prometheus-key-file={key}"])

    def scraped():
        return run(["curl", "-sk", "--noproxy", "*", "--cert", str(cert), "--key", str(key), f"https://127.0.0.1:{port}/metrics"]).stdout

    wait_for(lambda: scraped() == "hello from merged: /stats/prometheus\n", "the merged metrics over TLS")
    half = agent.cli("connect", "envoy", "-sidecar-for=merged", "-bootstrap", f"-prometheus-cert-file={cert}", check=False)
    assert half.returncode == 1 and "Must provide a CA" in half.stderr


def test_statistics_are_sent(agent, tmp_path, monkeypatch):
    """Those who use statsd find each proxy's numbers there, by UDP, by a socket of the host's, and with an address that
    only the host knows."""
    statsd, dogstatsd = (socket.socket(kind, socket.SOCK_DGRAM) for kind in (socket.AF_INET, socket.AF_UNIX))
    statsd.bind(("127.0.0.1", 0))
    path = str(tmp_path / "dogstatsd.sock")
    dogstatsd.bind(path)
    monkeypatch.setenv("HOST_IP", "127.0.0.1")
    monkeypatch.setenv("DOGSTATSD", f"unix://{path}")
    register(agent, "sent", {"envoy_statsd_url": "udp://${HOST_IP}:%d" % statsd.getsockname()[1],
                             "envoy_dogstatsd_url": "$DOGSTATSD", "envoy_stats_flush_interval": "0.2s",
                             "envoy_stats_tags": ["Canary", "zone=eu"]})
    envoy = Envoy(agent, "sent", ["-sidecar-for=sent"])
    with statsd, dogstatsd:
        for receiver in (statsd, dogstatsd):
            receiver.settimeout(20)
        wait_for(lambda: b"envoy.server.live:1|g" in statsd.recv(65536), "a statsd datagram")
        wait_for(lambda: b"canary:1" in (text := dogstatsd.recv(65536)) and b"zone:eu" in text, "a dogstatsd datagram with tags")
        envoy.process.stop()


def test_json_of_the_users_own(agent, tmp_path):
    """Tracing and metrics services need clusters, listeners and settings that no service stands behind."""
    port = free_port()
    listener = {"name": "mine", "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                "filter_chains": [{"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    "stat_prefix": "mine", "cluster": "collector"}}]}]}
    sink = {"name": "envoy.stat_sinks.metrics_service", "typed_config": {
        "@type": "type.googleapis.com/envoy.config.metrics.v3.MetricsServiceConfig", "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": "collector"}}}}
    tracing = {"http": {"name": "envoy.tracers.zipkin", "typed_config": {
        "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig", "collector_cluster": "collector",
        "collector_endpoint_version": "HTTP_JSON", "collector_endpoint": "/api/v2/spans"}}}
    config = {"envoy_extra_static_clusters_json": CLUSTER + ",\n" + CLUSTER.replace("collector", "other"),
              "Envoy_Extra_Static_Listeners_JSON": json.dumps(listener), "envoy_extra_stats_sinks_json": json.dumps(sink),
              "envoy_tracing_json": json.dumps(tracing), "envoy_stats_config_json": '{"stats_tags": []}',
              "envoy_prometheus_bind_addr": f"127.0.0.1:{free_port()}"}
    made = json.loads(bootstrap(agent, config).stdout)
    resources = made["static_resources"]
    assert [cluster["name"] for cluster in resources["clusters"]] == ["local_agent", "collector", "other", "self_admin"]
    assert [one["name"] for one in resources["listeners"]] == ["mine", "envoy_prometheus_metrics_listener"]
    assert made["stats_sinks"] == [sink] and made["tracing"] == tracing and made["stats_config"] == {"stats_tags": []}
    file = tmp_path / "boot.json"
    file.write_text(json.dumps(made))
    done = run([find_envoy(), "--mode", "validate", "-c", str(file)])
    assert done.returncode == 0, done.stderr


# The key, what is wrong with it, and where.
BAD_JSON = [
    ("envoy_extra_static_clusters_json", '{"name": "a"},\n{"name" "b"}', "envoy_extra_static_clusters_json:2:11: "),
    ("envoy_extra_static_clusters_json", '{"name": "a"}, {}', 'envoy_extra_static_clusters_json[1]: a cluster needs "name"'),
    ("envoy_extra_static_listeners_json", '"x"', "envoy_extra_static_listeners_json[0]: a listener must be an object"),
    ("envoy_extra_static_listeners_json", "}{", "envoy_extra_static_listeners_json:1:1: "),
    ("envoy_extra_stats_sinks_json", '{"typed_config": {}}', 'envoy_extra_stats_sinks_json[0]: a sink needs "name"'),
    ("envoy_stats_config_json", "{,}", "envoy_stats_config_json:1:2: "),
    ("envoy_stats_config_json", "[]", "must be an object"),
    ("envoy_tracing_json", "{}", 'envoy_tracing_json: the tracing configuration needs "http"'),
    ("ENVOY_TRACING_JSON", {}, "envoy_tracing_json must be a text that holds JSON"),
]


@pytest.mark.parametrize("key, value, words", BAD_JSON)
def test_bad_json_is_refused_when_it_is_written(agent, key, value, words):
    """Otherwise every proxy that starts afterwards dies of it, far from whoever wrote it."""
    entry = {"Kind": "proxy-defaults", "Name": "global", "Config": {key: value}}
    service = {"Name": "bad", "Port": 80, "Connect": {"SidecarService": {"Proxy": {"Config": {key: value}}}}}
    for path, body in (("/v1/config", entry), ("/v1/agent/service/register", service)):
        answer = agent.put(path, body, ok=False)
        assert answer.status >= 400 and words in answer.text, answer
    assert "bad" not in agent.get("/v1/agent/services")


@pytest.mark.parametrize("config, words", [
    ({"envoy_bootstrap_json_tpl": "{{ .ProxyID }}"}, "envoy_bootstrap_json_tpl is not supported: it is a template in Go's language"),
    ({"envoy_telemetry_collector_bind_socket_dir": "/tmp"}, "envoy_telemetry_collector_bind_socket_dir is not supported"),
    ({"envoy_statsd_url": "tcp://127.0.0.1:1"}, "envoy_statsd_url: \"tcp://127.0.0.1:1\" is neither udp"),
    ({"envoy_statsd_url": "udp://localhost:1"}, "envoy_statsd_url: Envoy resolves no names here"),
    ({"envoy_statsd_url": "udp://127.0.0.1"}, "not of the form udp://ip:port"),
    ({"envoy_dogstatsd_url": "$NO_SUCH_NAME"}, "envoy_dogstatsd_url: the environment variable NO_SUCH_NAME is not set"),
    ({"envoy_prometheus_bind_addr": "9102"}, "envoy_prometheus_bind_addr: \"9102\" is not of the form ip:port"),
    ({"envoy_stats_bind_addr": "localhost:9102"}, "envoy_stats_bind_addr: Envoy resolves no names here"),
    ({"envoy_stats_bind_addr": 9102}, "envoy_stats_bind_addr must be a text"),
])
def test_what_cannot_be_applied_is_refused_by_name(agent, config, words):
    """A key that did nothing would look as if it worked."""
    assert "NO_SUCH_NAME" not in os.environ
    done = bootstrap(agent, config, check=False, name="refused")
    assert done.returncode == 1 and words in done.stderr and "refused-sidecar-proxy" in done.stderr, done.stderr
    assert bootstrap(agent, config, "-no-central-config", name="refused").stdout.startswith("{")
