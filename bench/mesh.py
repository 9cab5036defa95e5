"""With real Envoys: a change on its way to a gateway, and calls through the mesh."""
import json
import pathlib
import time

import peerings
from figures import Figure
from measure import Client, Usage, harness, milliseconds
from single import wrk

# ---- changes to a gateway ----

GATEWAY = {
    "gateway_change": Figure("one change among 5,000 mesh instances, to the gateway's endpoints", "ms", ratio=2),
    "gateway_change_cpu": Figure("CPU for it at the agent", "ms", ratio=5),
    "gateway_change_bytes": Figure("bytes of xDS for it", "B"),
    "gateway_burst": Figure("200 changes in a burst, until the gateway has the last", "ms", ratio=2),
    "gateway_burst_cpu": Figure("CPU for them at the agent", "ms", ratio=5),
    "gateway_first": Figure("a new gateway has all of them after", "ms"),
    "gateway_first_cpu": Figure("CPU for that at the agent", "ms", ratio=2),
}
REGEX = "svc-250.*"


def endpoints(admin, regex=REGEX):
    dump = admin.get(f"/config_dump?include_eds&resource=dynamic_endpoint_configs&name_regex={regex}")
    return json.dumps(dump)


def stat(admin, name):
    answer = admin.call("GET", f"/stats?filter={name}")[1].decode()
    return sum(int(line.rsplit(" ", 1)[1]) for line in answer.splitlines())


class Admin(Client):
    def __init__(self, envoy):
        self.connection = harness.http.client.HTTPConnection("127.0.0.1", envoy.admin_port, timeout=60)


def wait_all(envoy):
    """Until the gateway has the endpoints of every service."""
    harness.wait_for(lambda: envoy.admin("/ready").status == 200, "the gateway to be ready", 120)
    admin = Admin(envoy)
    while stat(admin, r"^cluster_manager.active_clusters$") < peerings.SERVICES:
        time.sleep(0.01)
    while stat(admin, r"^cluster\.svc.*\.membership_total$") < peerings.TOTAL:
        time.sleep(0.1)
    return admin


def quiet_bytes(admin):
    """xDS bytes the Envoy has received, once no more come."""
    name, last = r"^cluster\.local_agent\.upstream_cx_rx_bytes_total$", -1
    while (now := stat(admin, name)) != last:
        last = now
        time.sleep(0.1)
    return now


def change_gateway(client, admin, ports):
    """One change after the other, and the wait for the last."""
    start = time.monotonic()
    for port in ports:
        client.put("/v1/catalog/register", peerings.instance(250, 5, native=True, port=port))
    while str(port) not in endpoints(admin):
        time.sleep(0.001)
    return milliseconds(time.monotonic() - start)


def measure_gateway(side, lab, options):
    agent = lab.server(side, "dc2")
    usage, client = Usage(agent.process), Client(agent)
    peerings.register_many(agent, native=True)
    usage.settle()

    cpu, start = usage.cpu(), time.monotonic()
    admin = wait_all(harness.add_gateway(agent))
    first = milliseconds(time.monotonic() - start)
    usage.settle()
    first_cpu = milliseconds(usage.cpu() - cpu)

    count, times = options.many(10), []
    cpu, received = usage.cpu(), quiet_bytes(admin)
    for change in range(count):
        times.append(change_gateway(client, admin, [20000 + change]))
        time.sleep(0.3)
    change_cpu, change_bytes = usage.cpu() - cpu, quiet_bytes(admin) - received

    cpu = usage.cpu()
    burst = change_gateway(client, admin, range(21000, 21200))
    usage.settle()
    return {"gateway_burst": [burst], "gateway_burst_cpu": [milliseconds(usage.cpu() - cpu)],
            "gateway_change": times, "gateway_change_cpu": [milliseconds(change_cpu) / count],
            "gateway_change_bytes": [change_bytes / count],
            "gateway_first": [first], "gateway_first_cpu": [first_cpu]}


# ---- calls ----

CALLS = {
    "calls_http": Figure("HTTP through sidecar, gateway, sidecar; 32 connections", "requests/s", ratio=3, rate=True),
    "calls_tcp": Figure("TCP on the same way (the HTTP inside is not looked at)", "requests/s", rate=True),
    "calls_direct": Figure("directly to the service", "requests/s", rate=True),
}

SERVICE = """
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: PORT}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: service
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                direct_response: {status: 200, body: {inline_string: "BODY"}}
"""


def fast_service(lab):
    """A service that costs as little as an Envoy that answers by itself."""
    port = harness.free_port()
    file = pathlib.Path(lab.folder) / "service.yaml"
    file.write_text(SERVICE.replace("PORT", str(port)).replace("BODY", "x" * 64))
    lab.process("service", [harness.find_envoy(), "-c", str(file), "--concurrency", "1", "-l", "warning",
                            "--base-id", str(harness.free_port())])
    harness.wait_for(lambda: harness.status_of(port) == 200, "the service")
    return port


def measure_calls(side, lab, options):
    dc1, dc2 = peerings.two(side, lab)
    port = fast_service(lab)
    ports = {name: harness.free_port() for name in ("http", "tcp")}
    harness.add_gateway(dc1)
    harness.add_gateway(dc2)
    for name in ports:
        dc2.config_entry({"Kind": "service-defaults", "Name": name, "Protocol": name})
        harness.add_service(dc2, name, port)
        harness.intend(dc2, name, "frontend", peerings.HERE)
    harness.export(dc2, ports, [peerings.HERE])
    harness.peer(dc2, dc1, peerings.HERE, peerings.THERE)
    harness.add_service(dc1, "frontend", harness.free_port(), [
        {"DestinationName": name, "DestinationPeer": peerings.THERE, "LocalBindPort": port}
        for name, port in ports.items()])
    rates = {}
    for name, port in {"direct": port, **ports}.items():
        url = f"http://127.0.0.1:{port}/"
        # The first calls may fail while gateways learn of the peer, and Envoy then keeps away from them for 30 s.
        harness.wait_for(lambda: wrk(url, 1), f"calls to {name} without a failure", 90)
        rates[f"calls_{name}"] = [wrk(url, options.seconds(5))]
    return rates
