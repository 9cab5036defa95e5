"""What all benchmarks measure with: what a process uses, time, and an HTTP client that costs little."""
import http.client
import json
import pathlib
import signal
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import harness  # noqa: E402

MIB = 1024 * 1024
# Consul allows 200 connections, and writes debug messages in -dev; Pons neither.
CONFIG = 'limits { http_max_conns_per_client = 4000 }\nlog_level = "INFO"\n'


class Lab(harness.Lab):
    """A lab that ends everything at once: how an agent leaves is not what is measured."""

    def __init__(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="pons-bench.")
        super().__init__(self.temporary.name)

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        if kind is not None:
            self.show_logs()
        for process in reversed(self.processes):
            process.stop(signal.SIGKILL)
        self.close()
        self.temporary.cleanup()

    def server(self, side, datacenter, **options):
        kind = harness.Consul if side == "consul" else harness.Agent
        return kind(self, datacenter, config=CONFIG, **options)


class Usage:
    """What a process uses, as its kernel says."""

    def __init__(self, process):
        self.pid = process.popen.pid

    def cpu(self):
        """Seconds of CPU so far, of all its threads, to the nanosecond."""
        return time.clock_gettime((~self.pid << 3) | 2)  # the clock that clock_getcpuclockid(3) gives

    def memory(self):
        """Resident bytes: all, and the anonymous part."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return tuple(int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon"))

    def settle(self, share=0.03, timeout=30):
        """Waits until it has used less than this share of a CPU for half a second."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            before = self.cpu()
            time.sleep(0.5)
            if self.cpu() - before < share * 0.5:
                return


class Client:
    """One kept connection to an agent's API."""

    def __init__(self, agent):
        self.connection = http.client.HTTPConnection(agent.host, agent.ports["http"], timeout=60)

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body)
        self.connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return answer, text

    def get(self, path):
        return json.loads(self.call("GET", path)[1])

    def put(self, path, body=None):
        self.call("PUT", path, body)

    def get_indexed(self, path):
        answer, text = self.call("GET", path)
        return json.loads(text), answer.headers["X-Consul-Index"]

    def wait_until(self, path, condition, pause=0.002):
        """Asks until the answer is such."""
        while True:
            answer = self.get(path)
            if condition(answer):
                return answer
            time.sleep(pause)


def milliseconds(seconds):
    return seconds * 1000
