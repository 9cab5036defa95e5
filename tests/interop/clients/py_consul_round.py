"""A round through the API with py-consul, as an application uses it: `py_consul_round.py PORT PEER_PORT`.

Runs in a Python that has py-consul. Prints a line for each thing that worked; the first that does not ends it.
"""
import json
import sys
import threading
import time

import consul
from consul.callback import CB
from consul.check import Check

here, there = (consul.Consul(host="127.0.0.1", port=int(port)) for port in sys.argv[1:3])


def done(what):
    print("ok:", what, flush=True)


def until(condition, what):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def agent():
    about = here.agent.self()
    assert about["Config"]["Version"] == "1.21.4"
    assert about["Member"] in here.agent.members()
    assert here.agent.service.register("web", service_id="web-1", port=8080, tags=["v1"], check=Check.ttl("60s"))
    assert here.agent.services()["web-1"]["Tags"] == ["v1"]
    assert here.agent.checks()["service:web-1"]["Status"] == "critical"
    assert here.agent.check.ttl_pass("service:web-1", "fine")
    assert here.agent.checks()["service:web-1"]["Output"] == "fine"
    assert here.agent.service.maintenance("web-1", True, "repairs")
    assert any("maintenance" in name for name in here.agent.checks())
    assert here.agent.service.maintenance("web-1", False)
    done("agent: register, check, maintenance")


def catalog():
    _, nodes = here.catalog.nodes()
    assert len(nodes) == 1
    _, services = here.catalog.services()
    assert services["web"] == ["v1"] and "consul" in services
    assert here.catalog.register("outside", "10.0.0.9", service={"service": "db", "port": 5432})
    _, instances = here.catalog.service("db")
    assert instances[0]["Node"] == "outside" and instances[0]["ServicePort"] == 5432
    assert here.catalog.deregister("outside")
    assert here.catalog.service("db")[1] == []
    assert here.status.leader() and here.status.peers()
    done("catalog: nodes, services, register, deregister")


def blocking():
    index, instances = here.health.service("web", passing=True)
    assert [entry["Service"]["ID"] for entry in instances] == ["web-1"]
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(here.health.service("web", index=index, wait="30s")))
    waiter.start()
    started = time.monotonic()
    there.agent.services()  # another client meanwhile
    assert here.agent.service.register("web", service_id="web-2", port=8081)
    waiter.join(20)
    assert answers and time.monotonic() - started < 20, "a change did not end the blocking query"
    assert int(answers[0][0]) > int(index) and len(answers[0][1]) == 2
    done("health: blocking query")


def entries():
    assert here.config.set("service-defaults", "web", {"Protocol": "http"}) is True
    entry = here.config.get("service-defaults", "web")
    assert entry["Protocol"] == "http"
    assert here.config.set("service-defaults", "web", {"Protocol": "tcp"}, cas=entry["ModifyIndex"] - 1) is False
    assert here.config.set("service-defaults", "web", {"Protocol": "tcp"}, cas=entry["ModifyIndex"]) is True
    assert [item["Name"] for item in here.config.list("service-defaults")] == ["web"]
    assert here.config.delete("service-defaults", "web") is True
    assert here.config.get("service-defaults", "web") is None
    intentions = here.connect.intentions
    assert intentions.upsert(source="web", destination="db", action="deny") is True
    assert intentions.read(source="web", destination="db")["Action"] == "deny"
    assert intentions.check(source="web", destination="db") is False
    assert intentions.delete(source="web", destination="db") is True
    assert here.connect.ca.roots()["Roots"][0]["Active"]
    done("config: entries, intentions, roots")


def call(client, method, path, body=None):
    """What py-consul has no words for yet goes over its transport."""
    send = getattr(client.http, method)
    return send(CB.json(), path) if body is None else send(CB.json(), path, data=json.dumps(body))


def peering():
    token = call(here, "post", "/v1/peering/token", {"PeerName": "there"})["PeeringToken"]
    assert call(there, "post", "/v1/peering/establish", {"PeerName": "here", "PeeringToken": token}) == {}
    until(lambda: call(here, "get", "/v1/peering/there")["State"] == "ACTIVE", "the peering to be ACTIVE")
    assert here.config.set("exported-services", "default",
                           {"Services": [{"Name": "web", "Consumers": [{"Peer": "there"}]}]})
    until(lambda: len(there.health.service("web", peer="here")[1]) == 2, "the exported service at the peer")
    done("peering: token, establish, import")


for step in (agent, catalog, blocking, entries, peering):
    step()
assert here.agent.service.deregister("web-1")
print("all done")
