"""The life of a peering between Pons and a real Consul: tokens, deletion from either side, kills, new tokens."""
import base64
import json
import signal

import pytest

from harness import export, wait_for
from pairs import BAD_IN_CONSUL, BAD_IN_PONS


class Party:
    """An agent and its name for the other; what it exports is a plain service."""

    def __init__(self, agent, peer, name):
        self.agent, self.peer, self.name = agent, peer, name
        agent.register({"Name": name, "Port": 80, "Address": "127.0.0.1"})
        export(agent, [name], [peer])

    def state(self):
        answer = self.agent.api("GET", f"/v1/peering/{self.peer}", ok=False)
        return answer.json()["State"] if answer.status == 200 else None

    def sees(self, name):
        return [entry["Service"]["ID"] for entry in self.agent.get(f"/v1/health/service/{name}?peer={self.peer}")]

    def delete(self):
        self.agent.api("DELETE", f"/v1/peering/{self.peer}")


class Parties:
    def __init__(self, lab, tmp_path, pons_dials, durable=False):
        self.lab = lab
        options = [{"dev": False, "data_dir": tmp_path / name} if durable else {} for name in ("pons", "consul")]
        self.pons = Party(lab.agent("dc-pons", **options[0]), "to-consul", "from-pons")
        self.consul = Party(lab.consul("dc-consul", **options[1]), "to-pons", "from-consul")
        self.dialer, self.acceptor = (self.pons, self.consul) if pons_dials else (self.consul, self.pons)

    def token(self):
        def made():
            return self.acceptor.agent.api(
                "POST", "/v1/peering/token", {"PeerName": self.acceptor.peer}).json()["PeeringToken"]
        return wait_for(made, "a token: a Consul that has just started refuses at first")

    def establish(self, token, ok=True):
        return self.dialer.agent.api(
            "POST", "/v1/peering/establish", {"PeerName": self.dialer.peer, "PeeringToken": token}, ok=ok)

    def peer(self):
        self.establish(self.token())
        self.wait_whole()

    def wait_whole(self, timeout=30):
        for one, other in ((self.pons, self.consul), (self.consul, self.pons)):
            wait_for(lambda: one.state() == "ACTIVE", f"{one.agent.datacenter} to be ACTIVE", timeout)
            wait_for(lambda: one.sees(other.name) == [other.name], f"{other.name} in {one.agent.datacenter}", timeout)

    def complaints(self):
        return [line for agent, pattern in ((self.pons.agent, BAD_IN_PONS), (self.consul.agent, BAD_IN_CONSUL))
                for line in agent.process.text().splitlines() if pattern.search(line)]


@pytest.fixture(params=["pons dials", "consul dials"])
def fresh(request, lab, tmp_path):
    return Parties(lab, tmp_path, request.param == "pons dials")


@pytest.fixture(params=["pons dials", "consul dials"])
def durable(request, lab, tmp_path):
    return Parties(lab, tmp_path, request.param == "pons dials", durable=True)


@pytest.mark.parametrize("deleter", ["dialer", "acceptor"])
def test_deleted_and_established_anew(fresh, deleter):
    fresh.peer()
    one = getattr(fresh, deleter)
    other = fresh.acceptor if deleter == "dialer" else fresh.dialer
    one.delete()
    wait_for(lambda: other.state() == "TERMINATED", f"{other.agent.datacenter} to be TERMINATED")
    wait_for(lambda: one.state() is None, f"the peering to go from {one.agent.datacenter}")
    wait_for(lambda: other.sees(one.name) == [], "what was imported to go from the other side")
    wait_for(lambda: one.sees(other.name) == [], "what was imported to go from the side that deleted")
    assert [entry["Name"] for entry in other.agent.get("/v1/peerings")] == [other.peer]
    if other is fresh.acceptor:
        other.delete()  # a Consul's TERMINATED record gives tokens that do not work; a dialer's is taken up again
        wait_for(lambda: other.state() is None, "the acceptor's record to go")
    fresh.peer()
    assert fresh.complaints() == []


def test_deleted_while_the_other_side_is_away(durable):
    """The other side is told as soon as it can be, or stays FAILING; a new token mends it."""
    durable.peer()
    durable.dialer.agent.process.stop(signal.SIGKILL)
    durable.acceptor.delete()
    wait_for(lambda: durable.acceptor.state() is None, "the acceptor's record to go")
    durable.dialer.agent.process.start()
    durable.dialer.agent.wait_ready()
    wait_for(lambda: durable.dialer.state() in ("FAILING", "TERMINATED"), "the dialer to know")
    durable.peer()


def test_new_token_for_a_living_peering(fresh):
    fresh.peer()
    before = fresh.acceptor.agent.get(f"/v1/peering/{fresh.acceptor.peer}")["ID"]
    fresh.peer()
    assert fresh.acceptor.agent.get(f"/v1/peering/{fresh.acceptor.peer}")["ID"] == before
    fresh.acceptor.agent.register({"Name": fresh.acceptor.name, "ID": "second", "Port": 81, "Address": "127.0.0.1"})
    wait_for(lambda: len(fresh.dialer.sees(fresh.acceptor.name)) == 2, "a change after the second token")
    assert fresh.complaints() == []


def test_token_used_twice(fresh):
    token = fresh.token()
    fresh.establish(token)
    fresh.wait_whole()
    again = fresh.establish(token, ok=False)
    assert again.status == 403
    assert "a new peering token must be generated" in again.text
    fresh.wait_whole()


def test_token_tampered_with(fresh):
    token = json.loads(base64.b64decode(fresh.token()))
    token["EstablishmentSecret"] = "11111111-2222-3333-4444-555555555555"
    answer = fresh.establish(base64.b64encode(json.dumps(token).encode()).decode(), ok=False)
    assert answer.status == 403
    assert "invalid peering establishment secret" in answer.text


@pytest.mark.parametrize("victim", ["pons", "consul"])
def test_killed_and_back(durable, victim):
    """Nothing is lost by kill -9 of either server, and what changed meanwhile is replicated."""
    durable.peer()
    one, other = durable.pons, durable.consul
    if victim == "consul":
        one, other = other, one
    one.agent.process.stop(signal.SIGKILL)
    wait_for(lambda: other.state() == "FAILING", f"{other.agent.datacenter} to notice")
    other.agent.register({"Name": other.name, "ID": "second", "Port": 81, "Address": "127.0.0.1"})
    other.agent.put(f"/v1/agent/service/deregister/{other.name}")
    assert other.sees(one.name) == [one.name], "what was imported stays while the peer is away"
    one.agent.process.start()
    one.agent.wait_ready()
    wait_for(lambda: one.state() == "ACTIVE" and other.state() == "ACTIVE", "both to be ACTIVE again", 60)
    wait_for(lambda: one.sees(other.name) == ["second"], "what changed meanwhile", 60)
    wait_for(lambda: other.sees(one.name) == [one.name], "what was there before", 60)


def test_consul_rotates_its_root(fresh):
    """A new root of the peer's arrives in the bundle beside the old one, and the stream is not disturbed."""
    fresh.peer()
    configuration = fresh.consul.agent.get("/v1/connect/ca/configuration")
    fresh.consul.agent.put("/v1/connect/ca/configuration", {
        "Provider": "consul", "Config": {**configuration["Config"], "PrivateKeyBits": 384, "PrivateKeyType": "ec"}})

    def bundle():
        roots = fresh.consul.agent.get("/v1/connect/ca/roots")["Roots"]
        pems = fresh.pons.agent.get(f"/v1/peering/{fresh.pons.peer}")["PeerCAPems"]
        return len(roots) == 2 and {pem.strip() for pem in pems} == {root["RootCert"].strip() for root in roots}
    wait_for(bundle, "both roots in the bundle")
    assert fresh.pons.state() == "ACTIVE"
    fresh.consul.agent.register({"Name": "from-consul", "ID": "second", "Port": 81, "Address": "127.0.0.1"})
    wait_for(lambda: len(fresh.pons.sees("from-consul")) == 2, "a change after the rotation")
    assert fresh.complaints() == []
