"""What the mesh entry, proxy-defaults and Expose make proxies do."""
import json
import socket
import ssl

import pytest

from harness import Envoy, add_service, free_port, http_call, intend, status_of, wait_for


class Cluster:
    """frontend calls backend (HTTP); backend's /health is open to everyone."""

    def __init__(self, lab):
        self.lab = lab
        self.log = lab.folder / "access.log"
        self.agent = agent = lab.agent("dc1", config='default_intention_policy = "deny"')
        self.backend = lab.http_service("backend")
        agent.config_entry({"Kind": "service-defaults", "Name": "backend", "Protocol": "http"})
        self.open_port, self.public_port = free_port(), free_port()
        agent.register({
            "Name": "backend", "ID": "backend", "Port": self.backend.port, "Address": "127.0.0.1",
            "Connect": {"SidecarService": {"Port": self.public_port, "Proxy": {"Expose": {"Paths": [
                {"Path": "/health", "ListenerPort": self.open_port, "LocalPathPort": self.backend.port}]}}}}})
        self.sidecar = Envoy(agent, "backend sidecar", ["-sidecar-for=backend"])
        self.port = free_port()
        self.frontend = add_service(agent, "frontend", free_port(), [
            {"DestinationName": "backend", "LocalBindPort": self.port}])
        intend(agent, "backend", "frontend")
        wait_for(lambda: status_of(self.port) == 200, "backend to answer")

    def mesh(self, **fields):
        self.agent.config_entry({"Kind": "mesh", **fields})

    def normalise(self, **fields):
        self.mesh(HTTP={"Incoming": {"RequestNormalization": fields}})


@pytest.fixture(scope="module")
def shared(module_lab, envoys):
    return Cluster(module_lab)


@pytest.fixture
def cluster(shared):
    yield shared
    shared.mesh()
    shared.agent.api("DELETE", "/v1/config/proxy-defaults/global")
    wait_for(lambda: status_of(shared.port) == 200, "backend to answer as before")


def test_an_exposed_path_answers_without_a_certificate(cluster):
    """Monitoring cannot speak mTLS: without it, either it is blind or the whole service is open."""
    wait_for(lambda: status_of(cluster.open_port, "/health") == 200, "the exposed path")
    assert "backend: /health" in http_call(cluster.open_port, "/health").text
    assert status_of(cluster.open_port, "/") == 404
    assert status_of(cluster.open_port, "/health/secret") == 404
    assert status_of(cluster.public_port, "/health") == 0


@pytest.mark.parametrize("path, words", [
    ({"Path": "/a", "ListenerPort": 70000}, "invalid listener port: 70000"),
    ({"Path": "/a", "ListenerPort": 700, "Protocol": "tcp"}, "protocol 'tcp' not supported for path: /a"),
    ({"Path": "/a", "ListenerPort": 1}, "duplicate listener ports exposed")])
def test_paths_that_can_not_be_exposed_are_refused(cluster, path, words):
    """Who exposes a path must learn at once that it will not be there."""
    answer = cluster.agent.api("PUT", "/v1/agent/service/register", {
        "Name": "other", "Port": 1, "Connect": {"SidecarService": {"Proxy": {"Expose": {"Paths": [
            {"Path": "/first", "ListenerPort": 1, "LocalPathPort": 1}, {**path, "LocalPathPort": 1}]}}}}}, ok=False)
    assert answer.status == 400 and words in answer.text


def offered(port, version):
    """Whether the listener takes a client that speaks this version of TLS alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as connection:
            return connection.version() is not None
    except ssl.SSLError as error:
        # With TLS 1.2 a client without certificate is refused in the handshake, by another alert.
        return "PROTOCOL_VERSION" not in str(error).upper()
    except OSError:
        return True


def test_the_mesh_entry_sets_the_lowest_tls_version(cluster):
    """Who must do without TLS 1.2 must be sure that no sidecar speaks it."""
    assert offered(cluster.public_port, ssl.TLSVersion.TLSv1_2)
    cluster.mesh(TLS={"Incoming": {"TLSMinVersion": "TLSv1_3"}})
    wait_for(lambda: not offered(cluster.public_port, ssl.TLSVersion.TLSv1_2), "TLS 1.2 to be refused")
    assert offered(cluster.public_port, ssl.TLSVersion.TLSv1_3)
    wait_for(lambda: status_of(cluster.port) == 200, "calls to pass with TLS 1.3")


def test_ciphers_of_the_mesh_entry_are_taken(cluster):
    """A name that Envoy does not know would make it refuse every listener."""
    cluster.mesh(TLS={"Incoming": {"TLSMaxVersion": "TLSv1_2", "CipherSuites": [
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]}})
    wait_for(lambda: not offered(cluster.public_port, ssl.TLSVersion.TLSv1_3), "TLS 1.3 to be refused")
    wait_for(lambda: status_of(cluster.port) == 200, "calls to pass with the one cipher")
    assert "ECDHE-ECDSA-AES256-GCM-SHA384" in cluster.sidecar.admin("/config_dump").text


def test_paths_are_normalised_as_the_mesh_entry_says(cluster):
    """Otherwise a path could be written so that a rule on it does not see it, and the application does."""
    def path(written):
        return http_call(cluster.port, written).text.strip()

    assert path("/a//b").endswith("/a//b")
    cluster.normalise(MergeSlashes=True)
    wait_for(lambda: path("/a//b").endswith(": /a/b"), "slashes to be merged")
    assert path("/a/../b").endswith(": /b")
    cluster.normalise(InsecureDisablePathNormalization=True)
    wait_for(lambda: path("/a/../b").endswith(": /a/../b"), "paths to be left as they are")
    cluster.normalise(PathWithEscapedSlashesAction="REJECT_REQUEST")
    wait_for(lambda: status_of(cluster.port, "/a%2Fb") == 400, "escaped slashes to be refused")


def test_headers_with_underscores_are_handled_as_the_mesh_entry_says(cluster):
    """Some applications read x_user as x-user: a caller could forge what the mesh sets."""
    from harness import request

    def call():
        return request("GET", f"http://127.0.0.1:{cluster.port}/", headers={"x_user": "me"}).status

    def arrives():
        assert call() == 200
        return "x_user" in cluster.backend.seen[-1]

    assert arrives()
    cluster.normalise(HeadersWithUnderscoresAction="DROP_HEADER")
    wait_for(lambda: not arrives(), "the header to be dropped")
    cluster.normalise(HeadersWithUnderscoresAction="REJECT_REQUEST")
    wait_for(lambda: call() == 400, "the request to be refused")


def test_requests_are_logged(cluster):
    """Who called what, and how it ended: nobody can look into a fault without."""
    cluster.agent.config_entry({"Kind": "proxy-defaults", "Name": "global", "AccessLogs": {
        "Enabled": True, "Type": "file", "Path": str(cluster.log)}})

    def lines():
        status_of(cluster.port, "/logged")
        text = cluster.log.read_text() if cluster.log.exists() else ""
        return [json.loads(line) for line in text.splitlines() if "/logged" in line]

    wait_for(lines, "a line in the log", timeout=30)
    line = lines()[0]
    assert len(line) == 24
    assert line["method"] == "GET" and line["response_code"] == 200


def test_requests_are_logged_as_wanted(cluster):
    """Collectors expect their own format; it has to work on a proxy's standard output too."""
    cluster.agent.config_entry({"Kind": "proxy-defaults", "Name": "global", "AccessLogs": {
        "Enabled": True, "TextFormat": "seen %REQ(:METHOD)% %RESPONSE_CODE%"}})

    def seen():
        status_of(cluster.port)
        return "seen GET 200" in cluster.sidecar.process.text()

    wait_for(seen, "a line on standard output", timeout=30)
    proxy = Envoy(cluster.agent, "frontend again", ["-sidecar-for=frontend", "-bootstrap"])
    wait_for(lambda: not proxy.process.running(), "the bootstrap to be printed")
    bootstrap = json.loads(proxy.process.text())
    assert bootstrap["admin"]["access_log"][0]["typed_config"]["@type"].endswith("stream.v3.StdoutAccessLog")
    cluster.agent.config_entry({"Kind": "proxy-defaults", "Name": "global", "AccessLogs": {
        "Enabled": True, "JSONFormat": '{"how": {"code": "%RESPONSE_CODE%"}}'}})
    wait_for(lambda: status_of(cluster.port) and '{"how":{"code":200}}' in cluster.sidecar.process.text(),
             "a line in JSON", timeout=30)


def test_bad_access_logs_are_refused_by_name(cluster):
    """Taken, they would stop every proxy's configuration."""
    answer = cluster.agent.api("PUT", "/v1/config", {"Kind": "proxy-defaults", "Name": "global", "AccessLogs": {
        "Enabled": True, "JSONFormat": "{"}}, ok=False)
    assert answer.status == 500 and "invalid access log json" in answer.text


def test_limits_of_a_gateways_own_service_defaults(cluster):
    """Without limits, one service's callers could use up the gateway for all others."""
    from harness import add_gateway
    gateway = add_gateway(cluster.agent)
    cluster.agent.config_entry({"Kind": "service-defaults", "Name": "mesh-gateway", "UpstreamConfig": {
        "Defaults": {"Limits": {"MaxConnections": 7}}}})
    wait_for(lambda: '"max_connections": 7' in gateway.admin("/config_dump").text, "the gateway's limits")
