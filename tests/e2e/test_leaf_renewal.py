"""Certificates are renewed while calls go on."""
import threading
import time

import pytest

from harness import KeptAlive, Lab, status_of, tcp_call, wait_for
from pair import Pair

# Certificates are dated a minute back, so this is what is left of them; renewal begins at half of it.
LIFE_S = 8


class Load:
    """Calls in a thread until stopped; each failure is kept with its time."""

    def __init__(self, name, call):
        self.name, self.call, self.done, self.failures = name, call, 0, []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            try:
                assert self.call(), "a wrong answer"
            except Exception as error:
                self.failures.append(f"call {self.done} at {time.time():.3f}: {error!r}")
            self.done += 1
            self.stopping.wait(0.005)

    def stop(self):
        self.stopping.set()
        self.thread.join()


@pytest.fixture
def short_lived(tmp_path, envoys):
    lab = Lab(tmp_path)
    try:
        yield Pair(lab, f'connect {{ ca_config {{ leaf_cert_ttl = "{60 + LIFE_S}s" }} }}\n')
    finally:
        lab.close()


def serials(envoy):
    """Of the leaf certificates that this Envoy holds."""
    certificates = envoy.admin("/certs").json()["certificates"]
    return {chain["serial_number"] for entry in certificates for chain in entry["cert_chain"]}


def test_no_call_fails_while_certificates_are_renewed(short_lived):
    """Every certificate in the mesh is replaced every few days; each time must go unnoticed."""
    pair = short_lived
    # The gateway of dc1 passes connections on and has no certificate of its own in use.
    proxies = [pair.frontend, pair.gateway2, pair.backend_sidecar, pair.echo_sidecar]
    first = {proxy.name: serials(proxy) for proxy in proxies}
    kept = KeptAlive(pair.http_port)
    loads = [Load("HTTP, one connection", lambda: kept.call() == 200),
             Load("HTTP, new connections", lambda: status_of(pair.http_port) == 200),
             Load("TCP, new connections", lambda: tcp_call(pair.tcp_port) == "echo: ping")]
    began = time.monotonic()

    def first_ones_are_over():
        """Then a call that still used one of them would fail."""
        return time.monotonic() - began > 1.25 * LIFE_S and all(
            len(serials(proxy) - first[proxy.name]) >= 2 for proxy in proxies)
    wait_for(first_ones_are_over, "all proxies to have got new certificates twice")
    for load in loads:
        load.stop()
        print(f"{load.name}: {load.done} calls, {len(load.failures)} failed {load.failures[:5]}")
    assert all(load.done > 100 and not load.failures for load in loads)
    assert pair.is_peered()
