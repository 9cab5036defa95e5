"""Two agents that are peered: how long that takes, and what many exported instances cost."""
import concurrent.futures
import json
import time

from figures import Figure
from measure import MIB, Client, Usage, milliseconds

SERVICES, COPIES = 500, 10
TOTAL = SERVICES * COPIES
HERE, THERE = "cluster-01", "cluster-02"  # dc1 and dc2 by the names that the other has for them


def two(side, lab):
    """dc1 imports from dc2; dc1 is the one that dials."""
    return lab.server(side, "dc1"), lab.server(side, "dc2")


# ---- establish ----

ESTABLISH = {
    "establish": Figure("establish to ACTIVE, at rest for 5 s before", "ms", below=100),
    "establish_again": Figure("the same 1 s after the peering was deleted", "ms", below=100),
    "establish_shown": Figure("ESTABLISHING is seen for", "ms"),
}


def establish(dialer, acceptor):
    """Time to ACTIVE at the dialer, and how long it showed ESTABLISHING."""
    answer = acceptor.call("POST", "/v1/peering/token", {"PeerName": HERE})[1]
    start = shown = time.monotonic()
    body = {"PeerName": THERE, "PeeringToken": json.loads(answer)["PeeringToken"]}
    dialer.call("POST", "/v1/peering/establish", body)
    began = time.monotonic()
    while (state := dialer.get(f"/v1/peering/{THERE}")["State"]) != "ACTIVE":
        if state == "ESTABLISHING":
            shown = time.monotonic()
        time.sleep(0.001)
    return milliseconds(time.monotonic() - start), milliseconds(max(0, shown - began))


def forget(dialer, acceptor):
    dialer.call("DELETE", f"/v1/peering/{THERE}")
    acceptor.call("DELETE", f"/v1/peering/{HERE}")
    for client in (dialer, acceptor):
        client.wait_until("/v1/peerings", lambda answer: not answer, pause=0.05)


def measure_establish(side, lab, options):
    dc1, dc2 = map(Client, two(side, lab))
    time.sleep(5)
    first, shown = establish(dc1, dc2)
    again = []
    for _ in range(options.many(5)):
        forget(dc1, dc2)
        time.sleep(1)
        again.append(establish(dc1, dc2)[0])
    return {"establish": [first], "establish_again": again, "establish_shown": [shown]}


# ---- many instances ----

SCALE = {
    "scale_exporter": Figure(f"{TOTAL:,} exported instances: memory more at the exporter", "MiB", ratio=5),
    "scale_importer": Figure("and at the importer", "MiB", ratio=5),
    "scale_time": Figure("time to replicate them, from ACTIVE", "ms", ratio=5),
    "scale_cpu_importer": Figure("CPU for it at the importer", "ms", ratio=5),
    "scale_cpu_exporter": Figure("and at the exporter", "ms", ratio=5),
    "scale_change": Figure("one change among them, to the peer's API", "ms", ratio=2),
    "scale_change_cpu": Figure("CPU for it, both sides together", "ms", ratio=5),
    "scale_register": Figure("one /v1/catalog/register, with 4 clients", "ms"),
}


def instance(service, copy, native=False, port=None):
    name = f"svc-{service:03}"
    return {
        "Node": f"node-{copy}", "Address": f"10.1.0.{copy}", "SkipNodeUpdate": False,
        "Service": {"Service": name, "ID": f"{name}-{copy}", "Port": port or 8000 + copy,
                    "Address": f"10.1.{copy}.{service % 250}", "Tags": ["v1"], "Meta": {"version": "1.0"},
                    "Connect": {"Native": native}},
        "Check": {"Node": f"node-{copy}", "CheckID": f"{name}-{copy}", "Name": "alive", "Status": "passing",
                  "ServiceID": f"{name}-{copy}"}}


def register_many(agent, native=False):
    """All instances, by four clients; seconds."""
    def some(first):
        client = Client(agent)
        for service in range(first, SERVICES, 4):
            for copy in range(COPIES):
                client.put("/v1/catalog/register", instance(service, copy, native))
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(some, range(4)))
    return time.monotonic() - start


def export_all(client, peer):
    client.put("/v1/config", {"Kind": "exported-services", "Name": "default",
                              "Services": [{"Name": "*", "Consumers": [{"Peer": peer}]}]})


def wait_imported(client):
    """Each service in turn; the first takes nearly all the time, and costs a request each 5 ms."""
    for service in range(SERVICES):
        client.wait_until(f"/v1/health/service/svc-{service:03}?peer={THERE}",
                          lambda answer: len(answer) == COPIES, pause=0.005)


def change_times(importer, exporter, count):
    path = f"/v1/health/service/svc-250?peer={THERE}"
    times = []
    for change in range(count):
        _, index = importer.get_indexed(path)
        importer.connection.request("GET", f"{path}&index={index}&wait=30s")
        time.sleep(0.3)  # until it waits, and the last change is over
        start = time.monotonic()
        exporter.put("/v1/catalog/register", instance(250, 5, port=20000 + change))
        answer = importer.connection.getresponse().read()
        times.append(milliseconds(time.monotonic() - start))
        assert str(20000 + change).encode() in answer
    return times


def measure_scale(side, lab, options):
    agents = two(side, lab)
    dc1, dc2 = map(Client, agents)
    usage1, usage2 = (Usage(agent.process) for agent in agents)
    time.sleep(options.seconds(3))
    before1, before2 = usage1.memory()[0], usage2.memory()[0]
    seconds = register_many(agents[1])
    export_all(dc2, HERE)
    usage2.settle()

    cpu1, cpu2 = usage1.cpu(), usage2.cpu()
    establish(dc1, dc2)
    start = time.monotonic()
    wait_imported(dc1)
    end = time.monotonic()
    cpu1, cpu2 = usage1.cpu() - cpu1, usage2.cpu() - cpu2
    usage1.settle()
    grown1, grown2 = usage1.memory()[0] - before1, usage2.memory()[0] - before2

    count = options.many(10)
    change1, change2 = usage1.cpu(), usage2.cpu()
    times = change_times(dc1, dc2, count)
    change_cpu = usage1.cpu() - change1 + usage2.cpu() - change2
    return {"scale_exporter": [grown2 / MIB], "scale_importer": [grown1 / MIB],
            "scale_time": [milliseconds(end - start)], "scale_register": [milliseconds(seconds / TOTAL)],
            "scale_cpu_importer": [milliseconds(cpu1)], "scale_cpu_exporter": [milliseconds(cpu2)],
            "scale_change": times, "scale_change_cpu": [milliseconds(change_cpu) / count]}
