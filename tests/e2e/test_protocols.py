"""What goes through a mesh besides small requests: large bodies, slow answers, HTTP/2, sockets, TLS to the agent."""
import os
import socket
import threading

import pytest

from harness import (Envoy, add_service, find_envoy, free_port, http_call, intend, run, status_of, tcp_call,
                     wait_for)
from pair import HERE


@pytest.fixture
def extra(pair):
    """Takes services and Envoys away again that a test adds to the shared pair."""
    added = []
    yield added
    for agent, service, envoy in added:
        agent.put(f"/v1/agent/service/deregister/{service}")
        envoy.process.stop()


class Bulk:
    """A TCP service that sends back all it gets, as it gets it."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.echo, args=(connection,), daemon=True).start()

    @staticmethod
    def echo(connection):
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    def stop(self):
        self.listener.close()


def test_large_data_over_tcp(pair, extra):
    """Databases and backups move more than a buffer's worth, and close one half first."""
    bulk, port = Bulk(), free_port()
    pair.lab.services.append(bulk)
    extra.append((pair.dc2, "bulk", add_service(pair.dc2, "bulk", bulk.port)))
    extra.append((pair.dc1, "mover", add_service(pair.dc1, "mover", free_port(), [pair.upstream("bulk", port)])))
    pair.export("backend", "echo", "bulk")
    intend(pair.dc2, "bulk", "mover", HERE)
    wait_for(lambda: tcp_call(port) == "ping", "the way to open")
    sent, got = os.urandom(8 << 20), bytearray()
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        def send():
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        threading.Thread(target=send, daemon=True).start()
        while data := connection.recv(1 << 20):
            got += data
    assert bytes(got) == sent


def test_large_answers_over_http(pair):
    """Downloads must arrive whole."""
    pair.backend.body = os.urandom(8 << 20)
    try:
        assert http_call(pair.http_port, timeout=30).body == pair.backend.body
    finally:
        pair.backend.body = None


def test_http2_across_the_peering(pair, extra, lab):
    """gRPC services speak HTTP/2 only: a mesh that falls back to HTTP/1.1 breaks them all."""
    port, local = free_port(), free_port()
    server = lab.folder / "h2.yaml"
    server.write_text(f"""
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: h2
          codec_type: HTTP2
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, direct_response: {{status: 200, body: {{inline_string: "over h2"}}}}}}]
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
""")
    lab.process("h2 server", [find_envoy(), "-c", str(server), "--disable-hot-restart", "--concurrency", "1",
                              "-l", "warning"])
    pair.dc2.config_entry({"Kind": "service-defaults", "Name": "h2", "Protocol": "grpc"})
    extra.append((pair.dc2, "h2", add_service(pair.dc2, "h2", port)))
    extra.append((pair.dc1, "caller", add_service(pair.dc1, "caller", free_port(), [pair.upstream("h2", local)])))
    pair.export("backend", "echo", "h2")
    intend(pair.dc2, "h2", "caller", HERE)

    def call():
        return run(["curl", "-s", "-m", "5", "--noproxy", "*", "--http2-prior-knowledge", "-w", " %{http_version}",
                    f"http://127.0.0.1:{local}/"]).stdout
    wait_for(lambda: call() == "over h2 2", "the call over HTTP/2")
    intend(pair.dc2, "h2", "caller", HERE, action="deny")
    wait_for(lambda: "RBAC" in call() or "denied" in call(), "the call to be refused")
    pair.dc2.api("DELETE", "/v1/config/service-intentions/h2")


def test_an_upstream_at_a_unix_socket(pair, extra):
    """Applications that may not open ports reach their upstreams by a file."""
    path = str(pair.lab.folder / "up.sock")
    extra.append((pair.dc1, "filed", add_service(pair.dc1, "filed", free_port(), [
        {"DestinationName": "echo", "DestinationPeer": "cluster-02", "LocalBindSocketPath": path}])))
    intend(pair.dc2, "echo", "filed", HERE)

    def call():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(path)
            connection.sendall(b"ping\n")
            return connection.makefile("rb").readline()
    wait_for(lambda: call() == b"echo: ping\n", "the call by the socket")


def test_sidecars_fetch_their_configuration_over_tls(lab, envoys):
    """Outside of a laptop nobody wants private keys to travel from agent to Envoy in the clear."""
    agent = lab.agent("dc1")
    ca = lab.folder / "ca.pem"
    ca.write_text("".join(root["RootCert"] for root in agent.get("/v1/connect/ca/roots")["Roots"]))
    echo, port = lab.echo_service("echo"), free_port()
    agent.register({"Name": "echo", "Port": echo.port, "Address": "127.0.0.1", "Connect": {"SidecarService": {
        "Port": free_port(), "Proxy": {"Upstreams": [{"DestinationName": "echo", "LocalBindPort": port}]}}}})
    Envoy(agent, "echo sidecar", ["-sidecar-for=echo", f"-grpc-ca-file={ca}",
                                  f"-grpc-addr=https://127.0.0.1:{agent.ports['grpc_tls']}"])
    wait_for(lambda: tcp_call(port) == "echo: ping", "the call of a sidecar that is configured over TLS")


def test_one_of_two_gateways_dies(pair):
    """Two gateways are there so that one may die: calls go through the other, and the dead one is forgotten."""
    port = free_port()
    second = Envoy(pair.dc2, "second gateway", [
        "-gateway=mesh", "-register", "-service=mesh-gateway", "-proxy-id=mesh-gateway-2",
        f"-address=127.0.0.1:{port}", f"-wan-address=127.0.0.1:{port}"])
    wait_for(lambda: f"127.0.0.1:{port}::" in pair.frontend.admin("/clusters").text, "the second to be known")
    pair.wait_calls()
    pair.gateway2.process.stop(9)
    wait_for(lambda: all(status_of(pair.http_port) == 200 for _ in range(20)), "all calls to go by the second")
    wait_for(lambda: all(pair.tcp() == "echo: ping" for _ in range(20)), "all calls to go by the second")
    pair.gateway2.process.start()
    pair.gateway2.wait_listener("")
    second.process.stop(9)
    wait_for(lambda: all(status_of(pair.http_port) == 200 for _ in range(20)), "all calls to go by the first")
    pair.dc2.put("/v1/agent/service/deregister/mesh-gateway-2")
    pair.wait_calls()
