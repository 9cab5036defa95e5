"""One agent by itself: its size, its start, at rest, and its answers."""
import os
import re
import selectors
import shutil
import socket
import subprocess
import tempfile
import time

from figures import Figure
from measure import MIB, Client, Usage, harness, milliseconds

INSTANCES = 10
WAITERS = 1000


def binary(side):
    return harness.find_consul() if side == "consul" else harness.PONS


# ---- size ----

SIZE = {"size": Figure("binary, stripped", "MB", below=6)}


def measure_size(side, lab, options):
    with tempfile.NamedTemporaryFile() as stripped:
        if subprocess.run(["strip", "-o", stripped.name, binary(side)], capture_output=True).returncode != 0:
            shutil.copy(binary(side), stripped.name)
        return {"size": [os.path.getsize(stripped.name) / 1e6]}


# ---- start ----

START = {"start": Figure("start of -dev to a leader in /v1/status/leader", "ms", ratio=5)}
LEADER = b"GET /v1/status/leader HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def says_leader(agent):
    try:
        with socket.create_connection((agent.host, agent.ports["http"]), 5) as connection:
            connection.sendall(LEADER)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    except OSError:
        return False
    return re.search(rb'\r\n\r\n.*"[^"]+:\d+"', answer, re.DOTALL) is not None


def wait_leader(agent):
    agent.started = time.monotonic()
    while not says_leader(agent):
        assert agent.process.running(), agent.process.text()
        time.sleep(0.001)
    agent.led = time.monotonic()


def measure_start(side, lab, options):
    times = []
    for _ in range(options.many(5)):
        kind = harness.Consul if side == "consul" else harness.Agent
        agent = type("Started", (kind,), {"wait_ready": wait_leader})(lab, "dc1")
        times.append(milliseconds(agent.led - agent.started))
        agent.process.stop()
    return {"start": times}


# ---- at rest ----

REST = {
    "rest_rss": Figure("memory at rest, resident, 8 s after start", "MiB", below=12),
    "rest_anon": Figure("of it anonymous", "MiB"),
    "rest_cpu": Figure("CPU at rest, in the 10 s after", "ms/s", ratio=5),
}


def measure_rest(side, lab, options):
    usage = Usage(lab.server(side, "dc1").process)
    time.sleep(options.seconds(8))
    resident, anonymous = usage.memory()
    before, span = usage.cpu(), options.seconds(10)
    time.sleep(span)
    return {"rest_rss": [resident / MIB], "rest_anon": [anonymous / MIB],
            "rest_cpu": [milliseconds(usage.cpu() - before) / span]}


# ---- answers ----

HEALTH = {
    "health": Figure(f"/v1/health/service/:name, {INSTANCES} instances, 32 connections", "requests/s",
                     ratio=10, rate=True),
    "health_cpu": Figure("CPU for one of them", "us"),
}


def register(client, instance, port):
    client.put("/v1/agent/service/register", {
        "Name": "web", "ID": f"web-{instance}", "Port": port, "Address": f"10.0.0.{instance}",
        "Tags": ["v1", "blue"], "Meta": {"version": "1.0"}, "Check": {"TTL": "1h", "Status": "passing"}})


def web_agent(side, lab):
    agent = lab.server(side, "dc1")
    client = Client(agent)
    for instance in range(INSTANCES):
        register(client, instance, 8000 + instance)
    client.wait_until("/v1/health/service/web?passing", lambda answer: len(answer) == INSTANCES)
    Usage(agent.process).settle()
    return agent, client


def wrk(url, seconds, connections=32):
    """Requests per second; None if one of them had no success."""
    done = harness.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url])
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        return None
    return float(re.search(r"Requests/sec:\s*([\d.]+)", done.stdout).group(1))


def measure_health(side, lab, options):
    agent, _ = web_agent(side, lab)
    usage, seconds = Usage(agent.process), options.seconds(5)
    url = agent.url("/v1/health/service/web")
    wrk(url, 1)
    before = usage.cpu()
    rate = wrk(url, seconds)
    return {"health": [rate], "health_cpu": [1e6 * (usage.cpu() - before) / (rate * seconds)]}


# ---- waiters ----

WAIT = {
    "wait_time": Figure(f"one change to {WAITERS} blocking queries, until all are answered", "ms", ratio=5),
    "wait_cpu": Figure("CPU for it", "ms", ratio=5),
}


class Waiter:
    """A blocking query; it is done when the whole answer is there. What this costs is in the time of both sides."""
    buffer = bytearray(1 << 18)

    def __init__(self, agent, path):
        self.socket = socket.create_connection((agent.host, agent.ports["http"]))
        self.left = None  # bytes to come; -1 if only the end says that it is the end
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())

    def receive(self):
        size = self.socket.recv_into(self.buffer)
        if self.left is None:
            head = self.buffer.index(b"\r\n\r\n", 0, size)
            length = re.search(rb"(?i)content-length: (\d+)", self.buffer[:head])
            self.left = head + 4 + int(length.group(1)) if length else -1
        if self.left < 0:
            return self.buffer.endswith(b"0\r\n\r\n", 0, size)
        self.left -= size
        return self.left <= 0


def one_change(agent, client, usage, port):
    _, index = client.get_indexed("/v1/health/service/web")
    waiters = [Waiter(agent, f"/v1/health/service/web?index={index}&wait=120s") for _ in range(WAITERS)]
    with selectors.DefaultSelector() as selector:
        for waiter in waiters:
            selector.register(waiter.socket, selectors.EVENT_READ, waiter)
        usage.settle()
        cpu, start = usage.cpu(), time.monotonic()
        register(client, 1, port)
        left = WAITERS
        while left > 0:
            for key, _ in selector.select(30) or [(None, None)]:
                assert key is not None, f"{left} blocking queries are not answered"
                if key.data.receive():
                    selector.unregister(key.fileobj)
                    left -= 1
        end = time.monotonic()
    usage.settle(timeout=3)
    for waiter in waiters:
        waiter.socket.close()
    return milliseconds(end - start), milliseconds(usage.cpu() - cpu)


def measure_wait(side, lab, options):
    agent, client = web_agent(side, lab)
    usage = Usage(agent.process)
    results = [one_change(agent, client, usage, 9000 + change) for change in range(options.many(3))]
    return {"wait_time": [time for time, _ in results], "wait_cpu": [cpu for _, cpu in results]}
