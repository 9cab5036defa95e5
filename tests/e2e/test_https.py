"""HTTPS with an operator's certificates: clients are verified where that was asked for, or the agent does not start."""
import http.client
import json
import ssl
import subprocess

import pytest

from harness import PONS, free_port, run


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for name in ("server", "client"):
        (folder / "ext").write_text("subjectAltName=DNS:consul.test,IP:127.0.0.1\n")
        openssl(folder, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "2", "-extfile", "ext")
    return folder


def status(port, certificates, with_certificate):
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    if with_certificate:
        context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    try:
        connection.request("GET", "/v1/status/leader")
        answer = connection.getresponse()
        return answer.status if json.loads(answer.read()) else 0
    except (ssl.SSLError, ConnectionError, http.client.HTTPException) as error:
        return str(error)
    finally:
        connection.close()


SPELLINGS = {
    "old": 'ca_file = "{0}/ca.pem"\ncert_file = "{0}/server.pem"\nkey_file = "{0}/server.key"\nverify_incoming_https = {1}',
    "defaults": 'tls {{ defaults {{ ca_file = "{0}/ca.pem"\ncert_file = "{0}/server.pem"\nkey_file = "{0}/server.key"\n'
                'verify_incoming = {1} }} }}',
    "https": 'tls {{ https {{ ca_file = "{0}/ca.pem"\ncert_file = "{0}/server.pem"\nkey_file = "{0}/server.key"\n'
             'verify_incoming = {1} }} }}',
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_clients_are_verified(lab, certificates, spelling):
    port = free_port()
    lab.agent("dc1", config=SPELLINGS[spelling].format(certificates, "true") + f"\nports {{ https = {port} }}")
    assert status(port, certificates, True) == 200
    assert "certificate" in status(port, certificates, False).lower()


def test_clients_are_not_verified_unasked(lab, certificates):
    port = free_port()
    lab.agent("dc1", config=SPELLINGS["old"].format(certificates, "false") + f"\nports {{ https = {port} }}")
    assert status(port, certificates, False) == 200


def test_the_servers_own_certificate_asks_too(lab, certificates):
    port = free_port()
    agent = lab.agent("dc1", config=f'ca_file = "{certificates}/ca.pem"\nverify_incoming_https = true\n'
                                    f"ports {{ https = {port} }}")
    name = f"server.dc1.peering.{agent.trust_domain()}"
    for server_name in (name, "other.test"):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", server_name, "-quiet"]
        done = subprocess.run(command, input=b"GET /v1/status/leader HTTP/1.0\r\n\r\n", capture_output=True, timeout=10)
        assert b"200 OK" not in done.stdout and b"certificate required" in done.stderr


def test_verification_without_a_ca_stops_the_start(tmp_path):
    done = run([PONS, "agent", "-dev", "-hcl", "verify_incoming_https = true",
                "-hcl", f"ports {{ http = {free_port()} https = {free_port()} grpc = {free_port()} grpc_tls = -1 }}"])
    assert done.returncode == 1 and "tls.https: verify_incoming needs a ca_file" in done.stderr
