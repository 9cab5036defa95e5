"""Whatever happened in whatever order: at the end the importer shows exactly what the exporter exports."""
import os
import random

import pytest

from harness import wait_for

SERVICES = [f"s{number}" for number in range(6)]


class World:
    """Does something at random, and knows what must be seen of it at the far end."""

    def __init__(self, lab, seed):
        self.random, self.lab = random.Random(seed), lab
        self.dialer, self.acceptor = (
            lab.agent(name, dev=False, data_dir=lab.folder / name) for name in ("dc1", "dc2"))
        self.instances = {}  # id: (name, port, passing)
        self.exported, self.log, self.stopped = [], [], []
        self.token()

    def token(self):
        token = self.acceptor.api("POST", "/v1/peering/token", {"PeerName": "buyer"}).json()["PeeringToken"]
        self.dialer.api("POST", "/v1/peering/establish", {"PeerName": "seller", "PeeringToken": token})

    def register(self):
        name = self.random.choice(SERVICES)
        service_id, port = f"{name}-{self.random.randrange(3)}", self.random.randrange(1, 60000)
        passing = self.random.random() < 0.7
        self.acceptor.register({"Name": name, "ID": service_id, "Port": port, "Check": {
            "CheckID": f"c-{service_id}", "TTL": "1h", "Status": "passing" if passing else "critical"}})
        self.acceptor.put(f"/v1/agent/check/{'pass' if passing else 'fail'}/c-{service_id}")
        self.instances[service_id] = (name, port, passing)

    def deregister(self):
        if self.instances:
            service_id = self.random.choice(sorted(self.instances))
            self.acceptor.put(f"/v1/agent/service/deregister/{service_id}")
            del self.instances[service_id]

    def flip(self):
        if self.instances:
            service_id = self.random.choice(sorted(self.instances))
            name, port, passing = self.instances[service_id]
            self.acceptor.put(f"/v1/agent/check/{'fail' if passing else 'pass'}/c-{service_id}")
            self.instances[service_id] = (name, port, not passing)

    def export(self):
        self.exported = self.random.choice([["*"], [], self.random.sample(SERVICES, 3), SERVICES[:1]])
        if self.exported:
            self.acceptor.config_entry({"Kind": "exported-services", "Name": "default", "Services": [
                {"Name": name, "Consumers": [{"Peer": "buyer"}]} for name in self.exported]})
        else:
            self.acceptor.api("DELETE", "/v1/config/exported-services/default")

    def kill_dialer(self):
        self.dialer.restart()

    def kill_acceptor(self):
        self.acceptor.restart()

    def repeer(self):
        """From either side, with the other one not told in advance."""
        first, name = self.random.choice([(self.dialer, "seller"), (self.acceptor, "buyer")])
        first.api("DELETE", f"/v1/peering/{name}")
        for agent, other in ((self.dialer, "seller"), (self.acceptor, "buyer")):
            agent.api("DELETE", f"/v1/peering/{other}")
            wait_for(lambda: agent.api("GET", f"/v1/peering/{other}", ok=False).status == 404, "the end of a peering")
        self.token()

    def new_token(self):
        self.token()

    def step(self):
        actions = [self.register] * 8 + [self.deregister] * 4 + [self.flip] * 4 + [self.export] * 4
        actions += [self.kill_dialer, self.kill_acceptor, self.repeer, self.new_token]
        action = self.random.choice(actions)
        self.log.append(action.__name__)
        action()

    def wanted(self):
        return {(name, service_id, port, passing) for service_id, (name, port, passing) in self.instances.items()
                if "*" in self.exported or name in self.exported}

    def seen(self):
        return {(name, entry["Service"]["ID"], entry["Service"]["Port"],
                 all(check["Status"] == "passing" for check in entry["Checks"]))
                for name in SERVICES for entry in self.dialer.get(f"/v1/health/service/{name}?peer=seller")}

    def check(self):
        try:
            wait_for(lambda: self.seen() == self.wanted(), "the importer to show what is exported")
            names = sorted({name for name, *_ in self.wanted()} |
                           {name for name in self.exported if name != "*"})
            wait_for(lambda: set(self.dialer.get("/v1/peering/seller")["StreamStatus"]["ImportedServices"] or []) >=
                     {name for name, *_ in self.wanted()}, f"the list of imports to hold {names}")
        except AssertionError as error:
            raise AssertionError(f"{error}\nwanted {sorted(self.wanted())}\nseen {sorted(self.seen())}\n"
                                 f"after {self.log}") from None


@pytest.mark.parametrize("seed", os.environ.get("SEEDS", "1,2,3").split(","))
def test_the_importer_shows_what_is_exported(lab, seed):
    """A difference that stays is a call to an instance that is gone, or an outage that nobody explains."""
    world = World(lab, seed)
    for _ in range(12):
        for _ in range(world.random.randrange(1, 8)):
            world.step()
        world.check()
