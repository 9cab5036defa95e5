"""Two peered clusters with everything that a call across them needs:

    dc1: frontend and its sidecar, gateway ──▶ dc2: gateway, sidecars of backend (HTTP) and echo (TCP)

dc1 calls dc2 "cluster-02" and established the peering; dc2 calls dc1 "cluster-01" and made the token.
"""
from harness import (add_gateway, add_service, export, free_port, intend, peer, status_of, tcp_call, wait_for)

HERE, THERE = "cluster-01", "cluster-02"


class Pair:
    def __init__(self, lab, config=""):
        self.lab = lab
        self.dc1, self.dc2 = (self.make_agent(name, config) for name in ("dc1", "dc2"))
        self.backend, self.echo = lab.http_service("backend"), lab.echo_service("echo")
        self.protocol("http")
        self.gateway1, self.gateway2 = add_gateway(self.dc1), add_gateway(self.dc2)
        self.backend_sidecar = add_service(self.dc2, "backend", self.backend.port)
        self.echo_sidecar = add_service(self.dc2, "echo", self.echo.port)
        self.http_port, self.tcp_port, self.service_port = free_port(), free_port(), free_port()
        self.frontend = add_service(self.dc1, "frontend", self.service_port, [
            self.upstream("backend", self.http_port), self.upstream("echo", self.tcp_port)])
        self.restore()

    def make_agent(self, name, config):
        return self.lab.agent(name, dev=False, data_dir=self.lab.folder / f"data-{name}",
                              config='default_intention_policy = "deny"\n' + config)

    @staticmethod
    def upstream(name, port, peer_name=THERE):
        return {"DestinationName": name, "DestinationPeer": peer_name, "LocalBindPort": port}

    def protocol(self, protocol):
        self.dc2.config_entry({"Kind": "service-defaults", "Name": "backend", "Protocol": protocol})

    def peer(self):
        peer(self.dc2, self.dc1, HERE, THERE)

    def is_peered(self):
        for agent in (self.dc1, self.dc2):
            peerings = agent.get("/v1/peerings")
            if len(peerings) != 1 or peerings[0]["State"] != "ACTIVE":
                return False
        return True

    def forget_peering(self):
        self.dc1.api("DELETE", f"/v1/peering/{THERE}")
        self.dc2.api("DELETE", f"/v1/peering/{HERE}")
        wait_for(lambda: not self.dc1.get("/v1/peerings") and not self.dc2.get("/v1/peerings"),
                 "the old peering to go")

    def export(self, *names):
        export(self.dc2, names, [HERE])

    def export_nothing(self):
        self.dc2.api("DELETE", "/v1/config/exported-services/default")

    def allow(self, *names):
        for name in names:
            intend(self.dc2, name, "frontend", HERE)

    def allow_nothing(self):
        for name in ("backend", "echo"):
            self.dc2.api("DELETE", f"/v1/config/service-intentions/{name}")

    def http(self):
        return status_of(self.http_port)

    def tcp(self):
        return tcp_call(self.tcp_port)

    def wait_calls(self):
        wait_for(lambda: self.http() == 200, "the HTTP call to pass")
        wait_for(lambda: self.tcp() == "echo: ping", "the TCP call to pass")

    def wait_refused(self):
        wait_for(lambda: self.http() != 200, "the HTTP call to fail")
        wait_for(lambda: self.tcp() == "", "the TCP call to fail")

    def seen(self, name):
        """The instances of a service of dc2 as dc1's API shows them."""
        return self.dc1.get(f"/v1/health/service/{name}?peer={THERE}")

    def restore(self):
        """What each test begins with: peered, both exported and allowed, calls pass."""
        if not self.is_peered():
            self.forget_peering()
            self.peer()
        self.protocol("http")
        self.export("backend", "echo")
        self.allow("backend", "echo")
        self.wait_calls()
