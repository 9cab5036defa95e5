"""Existing test harnesses start their agent as `consul`, with a configuration that a program writes, and probe it."""
import json
import os
import signal
import time
import uuid

import pytest

from harness import PONS, free_port, request, run, wait_for

PORTS = ["dns", "http", "https", "serf_lan", "serf_wan", "server", "grpc", "grpc_tls"]
CLUSTER = "11111111-2222-3333-4444-555555555555"


class Started:
    """`consul agent -config-file …`, with the very keys that such a harness writes."""

    def __init__(self, lab, **changes):
        self.folder = lab.folder / f"harness-{len(lab.processes)}"
        self.folder.mkdir()
        self.program = self.folder / "consul"
        self.program.symlink_to(PONS)
        self.node_id = str(uuid.uuid4())
        self.ports = {name: free_port() for name in PORTS}
        config = {
            "node_name": f"node-{self.node_id}", "node_id": self.node_id, "performance": {"raft_multiplier": 1},
            "bootstrap": True, "server": True, "data_dir": str(self.folder / "data"), "segments": None,
            "disable_update_check": True, "log_level": "debug", "bind_addr": "127.0.0.1", "addresses": {},
            "ports": self.ports, "acl": {"tokens": {}},
            "connect": {"ca_config": {"cluster_id": CLUSTER}, "enabled": True},
            "skip_leave_on_interrupt": True, "peering": {"enabled": True}, "version": "1.21.4", **changes}
        file = self.folder / "config.json"
        file.write_text(json.dumps(config, separators=(",", ":")))
        empty = self.folder / "empty.json"
        empty.write_text("")
        self.process = lab.process("harness", [str(self.program), "agent", "-config-file", str(file),
                                               "-config-file", str(empty)])

    def ask(self, method, path):
        return request(method, f"http://127.0.0.1:{self.ports['http']}{path}")

    def probe(self, path, is_ready):
        def ready():
            assert self.process.running(), self.process.text()
            answer = self.ask("GET", path)
            return answer.status == 200 and is_ready(answer.json()) and (answer.json() or True)
        return wait_for(ready, path, timeout=7)


@pytest.fixture
def started(lab):
    return Started(lab)


def test_the_version_can_be_parsed(tmp_path):
    program = tmp_path / "consul"
    program.symlink_to(PONS)
    done = run([str(program), "version", "-format=json"])
    version = json.loads(done.stdout)
    assert version["Version"] == "1.21.4" and version["Prerelease"] == ""
    assert version["RPC"] == {"Default": 2, "Min": 2, "Max": 3}


def test_an_agent_passes_all_probes(started):
    started.probe("/v1/status/leader", lambda leader: leader != "")
    roots = started.probe("/v1/agent/connect/ca/roots", lambda roots: roots["ActiveRootID"] and roots["Roots"])
    assert roots["TrustDomain"] == f"{CLUSTER}.consul"
    nodes = started.probe("/v1/catalog/nodes?index=0", lambda nodes: nodes)
    assert nodes[0]["Node"] == f"node-{started.node_id}" and nodes[0]["ID"] == started.node_id
    assert nodes[0]["Meta"]["consul-version"] == "1.21.4"
    started.probe(f"/v1/health/node/{nodes[0]['Node']}",
                  lambda checks: any(check["CheckID"] == "serfHealth" for check in checks))
    started.probe("/v1/operator/raft/configuration",
                  lambda raft: any(server["ID"] == started.node_id and server["Voter"] for server in raft["Servers"]))
    assert started.ask("DELETE", "/v1/config/service-intentions/nonexistent").status == 200
    version = started.ask("GET", "/v1/agent/self").json()["Config"]["Version"]
    assert version == "1.21.4"


def test_the_memory_is_a_gauge(started):
    started.probe("/v1/status/leader", lambda leader: leader != "")
    gauges = started.ask("GET", "/v1/agent/metrics").json()["Gauges"]
    memory = [gauge for gauge in gauges if gauge["Name"] == f"consul.{os.uname().nodename}.runtime.alloc_bytes"]
    assert len(memory) == 1 and memory[0]["Value"] >= 0  # a sanitizer counts by itself


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_and_frees_its_ports(lab, how):
    first = Started(lab)
    first.probe("/v1/status/leader", lambda leader: leader != "")
    began = time.monotonic()
    first.process.popen.send_signal(how)
    first.process.wait_end(10)
    assert time.monotonic() - began < 5, "harnesses wait 10 s, then abort it"
    again = Started(lab, ports=first.ports)
    again.ports = first.ports
    again.probe("/v1/status/leader", lambda leader: leader != "")


def test_without_connect_there_is_no_authority(lab):
    started = Started(lab, connect={"enabled": False})
    started.probe("/v1/status/leader", lambda leader: leader != "")
    answer = started.ask("GET", "/v1/agent/connect/ca/roots")
    assert answer.status == 500 and "Connect must be enabled in order to use this endpoint" in answer.text


def test_a_wrong_definition_stops_the_start(lab):
    started = Started(lab, services=[{"name": "web", "connect": {"sidecar_service": {
        "proxy": {"upstreams": [{"local_bind_port": 1}]}}}}])
    assert started.process.wait_end(10) == 1
    assert "web" in started.process.text()
