"""A Pons cluster and a real Consul cluster with the same services, gateways and Envoys, ready to be peered.

Each side has `web` (the caller, one upstream port for each service of the other side), `api` (HTTP) and `echo`
(TCP), each behind a sidecar, and a mesh gateway. Both deny what no intention allows. The registrations carry no
TCP checks, because Consul runs the first one up to 10 s late, which says nothing about either program.
"""
import http.client
import json
import re

from harness import Consul, Envoy, export, free_port, http_call, intend, tcp_call, wait_for

SERVICES = ("api", "echo")
ALL = (*SERVICES, "flip")


class QuickEnvoy(Envoy):
    """Consul changes an intention by a new listener; connections of the old one keep its rules until it is drained."""
    options = ("--drain-time-s", "1")

    def active_listeners(self):
        """The listeners in use, as JSON; those that still warm up do not count."""
        dump = self.admin("/config_dump?resource=dynamic_listeners").json()
        return json.dumps([entry["active_state"] for entry in dump.get("configs", []) if "active_state" in entry])


DENY = 'default_intention_policy = "deny"\n'

# What neither log may hold after a test: a refused resource, a refused configuration, a crash.
BAD_IN_CONSUL = re.compile(
    r"nack|unable to apply|panic|upsert error|failed to generate|runtime error|error adding/updating|update rejected",
    re.I)
BAD_IN_PONS = re.compile(
    r"nack|refus|reject|upsert error|runtime error|AddressSanitizer|LeakSanitizer|unable to apply", re.I)


def register_gateway(agent, name="mesh-gateway"):
    """A mesh gateway without a check, and its Envoy."""
    port = free_port()
    agent.register({
        "Kind": "mesh-gateway", "Name": name, "ID": name, "Address": "127.0.0.1", "Port": port,
        "TaggedAddresses": {"lan": {"Address": "127.0.0.1", "Port": port},
                            "wan": {"Address": "127.0.0.1", "Port": port}},
        "Proxy": {"Config": {"envoy_gateway_no_default_bind": True,
                             "envoy_gateway_bind_tagged_addresses": True}}})
    gateway = QuickEnvoy(agent, f"{name} {agent.datacenter}", ["-gateway=mesh"])
    gateway.port = port
    return gateway


def register_service(agent, name, port, instance=None, upstreams=(), **more):
    """A service with a sidecar, both without TCP checks, and the sidecar's Envoy."""
    instance = instance or name
    agent.register({
        "Name": name, "ID": instance, "Port": port, "Address": "127.0.0.1",
        "Connect": {"SidecarService": {
            "Port": free_port(), "Checks": [{"Name": "Alias", "AliasService": instance}],
            "Proxy": {"Upstreams": list(upstreams)}}}, **more})
    return QuickEnvoy(agent, f"{instance} sidecar {agent.datacenter}", [f"-sidecar-for={instance}"])


class Side:
    """One cluster of the pair; `peer` is its name for the other."""

    def __init__(self, agent, peer):
        self.agent, self.peer, self.other = agent, peer, None
        self.is_consul = isinstance(agent, Consul)
        lab = agent.lab
        self.services = {"api": lab.http_service(f"api of {agent.datacenter}"),
                         "echo": lab.echo_service(f"echo of {agent.datacenter}"),
                         "flip": lab.http_service(f"flip of {agent.datacenter}")}
        self.set_protocol("api", "http")
        self.gateway = register_gateway(agent)
        self.ports = {name: free_port() for name in ALL}
        self.sidecars = {name: register_service(agent, name, service.port)
                         for name, service in self.services.items()}
        self.client = register_service(agent, "web", free_port(), upstreams=[
            {"DestinationName": name, "DestinationPeer": peer, "LocalBindPort": port}
            for name, port in self.ports.items()])

    def calls(self, name):
        """What `web` of this side gets from the other side's service: "" if refused."""
        if name == "echo":
            return tcp_call(self.ports[name])
        try:
            answer = http_call(self.ports[name], "/x")
        except (OSError, http.client.HTTPException):
            return ""
        return answer.text.strip() if answer.status == 200 else f"{answer.status}"

    def reaches(self, name):
        return f"{name} of {self.other.agent.datacenter}" in self.calls(name)

    def listeners(self):
        return self.client.admin("/listeners").text

    def has_xfcc(self, name):
        """Whether the service got its last call by way of HTTP proxies, which say who called."""
        return self.reaches(name) and any(
            key.lower() == "x-forwarded-client-cert" for key in self.other.services[name].seen[-1])

    def can_see(self, name, timeout=30):
        """Waits for the way: calls before it is there would have Envoy eject the gateway for 30 s."""
        exporter = self.other
        wait_for(lambda: re.search(rf"exported~{name}\..*::health_flags::healthy", exporter.gateway.admin("/clusters").text),
                 f"{name} at the gateway of {exporter.agent.datacenter}", timeout)
        wait_for(lambda: f'"{name}.default.default.{exporter.peer}.external' in exporter.gateway.active_listeners(),
                 f"the chain of {name} in the gateway of {exporter.agent.datacenter}", timeout)
        wait_for(lambda: re.search(rf"{name}\.default\.{self.peer}\.external.*::health_flags::healthy",
                                   self.client.admin("/clusters").text),
                 f"{name} at web of {self.agent.datacenter}", timeout)
        wait_for(lambda: f"{name}?peer={self.peer}" in self.listeners(),
                 f"the upstream port of {name} in {self.agent.datacenter}", timeout)

    def can_reach(self, name, timeout=30):
        self.can_see(name, timeout)
        wait_for(lambda: self.reaches(name), f"web of {self.agent.datacenter} to reach {name}", timeout)

    def sees(self, name):
        """The instances of the other side's service as this side's API has them."""
        return self.agent.get(f"/v1/health/service/{name}?peer={self.peer}")

    def sees_protocol(self, name):
        instances = self.agent.get(f"/v1/health/connect/{name}?peer={self.peer}")
        return instances and instances[0]["Service"]["Connect"]["PeerMeta"]["Protocol"]

    def wait_gone(self, name):
        """The service goes as this side knows it, and calls with it. (Consul keeps a port that leads nowhere.)"""
        wait_for(lambda: self.sees(name) == [], f"{name} to go from {self.agent.datacenter}")
        if not self.is_consul:
            wait_for(lambda: f"{name}?peer={self.peer}" not in self.listeners(), f"web's port for {name} to go")
        wait_for(lambda: not self.reaches(name), f"{name} not to be reached from {self.agent.datacenter}")

    def set_protocol(self, name, protocol):
        self.agent.config_entry({"Kind": "service-defaults", "Name": name, "Protocol": protocol})

    def state(self):
        answer = self.agent.api("GET", f"/v1/peering/{self.peer}", ok=False)
        return answer.json()["State"] if answer.status == 200 else None

    def peering(self):
        return self.agent.get(f"/v1/peering/{self.peer}")

    def export(self, *names):
        export(self.agent, names, [self.peer])

    def intend(self, name, action="allow"):
        intend(self.agent, name, "web", self.peer, action)

    def root(self):
        return self.agent.get("/v1/connect/ca/roots")["Roots"][0]["RootCert"].strip()


class Pair:
    def __init__(self, lab, pons_dials, **options):
        self.lab, self.pons_dials = lab, pons_dials
        self.consul = Side(lab.consul("dc-consul", config=DENY + options.pop("consul_config", ""), **options), "to-pons")
        self.pons = Side(lab.agent("dc-pons", config=DENY + options.pop("pons_config", ""), **options), "to-consul")
        self.consul.other, self.pons.other = self.pons, self.consul
        self.dialer, self.acceptor = (self.pons, self.consul) if pons_dials else (self.consul, self.pons)

    def both(self):
        return (self.pons, self.consul)

    def peer(self):
        token = self.acceptor.agent.api(
            "POST", "/v1/peering/token", {"PeerName": self.acceptor.peer}).json()["PeeringToken"]
        self.dialer.agent.api(
            "POST", "/v1/peering/establish", {"PeerName": self.dialer.peer, "PeeringToken": token})
        self.wait_active()

    def wait_active(self, timeout=30):
        for side in self.both():
            wait_for(lambda: side.state() == "ACTIVE", f"{side.agent.datacenter} to be ACTIVE", timeout)

    def complaints(self):
        """Lines of either log in which one side refused what the other sent, or an Envoy refused its configuration."""
        found = []
        for process in self.lab.processes:
            pattern = BAD_IN_PONS if process.name == "agent dc-pons" else BAD_IN_CONSUL
            found += [f"{process.name}: {line}" for line in process.text().splitlines() if pattern.search(line)]
        return found
