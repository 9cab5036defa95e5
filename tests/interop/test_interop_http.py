"""The same requests to a Consul and to a Pons agent with the same state: same statuses, same JSON, same words.

Both dial a third cluster and are dialled by a fourth, so that peerings and imports look alike. What differs must match
NAMED, which docs/compatibility.md explains.
"""
import json
import re

import pytest

from harness import Lab, export, free_port, wait_for
from normal import Names, differences

SERVICE_PORT, CHECK_PORT = free_port(), free_port()
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
FINGERPRINT = re.compile(r"\b([0-9a-f]{2}:){5,}[0-9a-f]{2}\b")
NUMBERS = re.compile(r"Index$|^SerialNumber$|^(serf|raft)_|^ExpiresAt$")

READS = """
/v1/status/leader
/v1/status/peers
/v1/agent/services
/v1/agent/service/web
/v1/agent/service/web-sidecar-proxy
/v1/agent/service/gw
/v1/agent/service/none
/v1/agent/checks
/v1/agent/members
/v1/agent/health/service/id/web
/v1/agent/health/service/id/none
/v1/agent/health/service/name/web
/v1/agent/health/service/name/none
/v1/agent/health/service/name/web?format=text
/v1/agent/services?filter=Service==web
/v1/agent/connect/ca/roots
/v1/connect/ca/roots
/v1/connect/ca/roots?pem=true
/v1/connect/ca/configuration
/v1/agent/connect/ca/leaf/web
/v1/catalog/datacenters
/v1/catalog/nodes
/v1/catalog/nodes?filter=Node==nope
/v1/catalog/services
/v1/catalog/service/web
/v1/catalog/service/none
/v1/catalog/service/external
/v1/catalog/service/remote?peer=dialed
/v1/catalog/connect/web
/v1/catalog/connect/remote?peer=dialed
/v1/catalog/node/NODE
/v1/catalog/node/none
/v1/catalog/node-services/NODE
/v1/catalog/node-services/none
/v1/catalog/node/outside
/v1/catalog/node-services/outside
/v1/health/service/web
/v1/health/service/web?passing
/v1/health/service/none
/v1/health/service/remote?peer=dialed
/v1/health/service/remote?peer=none
/v1/health/service/external
/v1/health/connect/web
/v1/health/connect/remote?peer=dialed
/v1/health/ingress/web
/v1/health/checks/web
/v1/health/checks/api
/v1/health/checks/none
/v1/health/node/NODE
/v1/health/node/none
/v1/health/state/any
/v1/health/state/critical
/v1/health/state/bogus
/v1/config/service-defaults/web
/v1/config/service-defaults/none
/v1/config/service-defaults
/v1/config/proxy-defaults/global
/v1/config/proxy-defaults
/v1/config/mesh/mesh
/v1/config/exported-services/default
/v1/config/exported-services
/v1/config/service-intentions/web
/v1/config/service-intentions
/v1/config/bogus
/v1/config/bogus/x
/v1/exported-services
/v1/connect/intentions
/v1/connect/intentions/exact?source=api&destination=web
/v1/connect/intentions/exact?source=none&destination=web
/v1/connect/intentions/exact?source=none
/v1/connect/intentions/match?by=destination&name=web
/v1/connect/intentions/match?by=bogus&name=web
/v1/connect/intentions/match?by=source&name=api
/v1/connect/intentions/check?source=api&destination=web
/v1/connect/intentions/check?source=none&destination=web
/v1/connect/intentions/exact?source=permitted&destination=web
/v1/connect/intentions/check?source=permitted&destination=web
/v1/connect/intentions/check?source=none
/v1/peering/dialed
/v1/peering/accepted
/v1/peering/none
/v1/peering/
/v1/peerings
/v1/internal/ui/services
/v1/internal/ui/services?peer=dialed
/v1/internal/ui/exported-services?peer=dialed
/v1/acl/token/self
/v1/acl/tokens
/v1/bogus
/v1/health/service/
/v1/catalog/service/
/v1/health/service/web?index=bogus
/v1/health/service/web?wait=bogus&index=1
/v1/health/service/web?stale&consistent
/v1/health/service/web?filter=Bogus==1
/v1/health/service/web?filter=Service.Port
/v1/health/service/web?near=_agent
/v1/health/service/web?dc=nowhere
/v1/catalog/services?partition=other
""".split()

WRITES = [
    ("PUT", "/v1/agent/service/register", "{"),
    ("PUT", "/v1/agent/service/register", {}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Bogus": 1}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Port": "many"}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Address": "0.0.0.0"}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Check": {"TTL": "soon"}}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Check": {"HTTP": "http://x"}}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Check": {}}),
    ("PUT", "/v1/agent/service/deregister/x", None),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Check": {"TTL": "5s", "Status": "fine"}}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Kind": "connect-proxy"}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Kind": "connect-proxy", "Port": 1, "Proxy": {}}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Kind": "mesh-gateway"}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Weights": {"Passing": 0, "Warning": -1}}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Port": 1, "Meta": {"": "x"}}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Port": 1, "Connect": {"SidecarService": {
        "Proxy": {"Upstreams": [{"LocalBindPort": 1}]}}}}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Port": 1, "Connect": {"SidecarService": {
        "Proxy": {"Upstreams": [{"DestinationName": "y"}]}}}}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Port": 1, "Connect": {"Native": True, "SidecarService": {}}}),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Connect": {"SidecarService": {"Connect": {"SidecarService": {}}}}}),
    ("PUT", "/v1/agent/service/deregister/none", None),
    ("PUT", "/v1/agent/check/register", {}),
    ("PUT", "/v1/agent/check/register", {"Name": "c"}),
    ("PUT", "/v1/agent/check/register", {"Name": "c", "TTL": "5s", "ServiceID": "none"}),
    ("PUT", "/v1/agent/check/register", {"Name": "c", "TCP": "127.0.0.1:1"}),
    ("PUT", "/v1/agent/check/deregister/none", None),
    ("PUT", "/v1/agent/check/pass/none", None),
    ("PUT", "/v1/agent/check/update/none", {"Status": "bogus"}),
    ("PUT", "/v1/agent/check/update/none", {"Status": "passing"}),
    ("PUT", "/v1/agent/service/maintenance/web", None),
    ("PUT", "/v1/agent/service/maintenance/web?enable=perhaps", None),
    ("PUT", "/v1/agent/service/maintenance/none?enable=true", None),
    ("PUT", "/v1/agent/maintenance", None),
    ("PUT", "/v1/catalog/register", {}),
    ("PUT", "/v1/catalog/register", {"Node": "n"}),
    ("PUT", "/v1/catalog/register", {"Node": "n", "Address": "1.2.3.4", "Service": {}}),
    ("PUT", "/v1/catalog/register", {"Node": "n", "Address": "1.2.3.4", "Check": {"Node": "m", "Name": "x"}}),
    ("PUT", "/v1/catalog/register", {"Node": "n", "Address": "1.2.3.4", "ID": "short"}),
    ("PUT", "/v1/catalog/deregister", {}),
    ("PUT", "/v1/catalog/deregister", {"Node": "none"}),
    ("PUT", "/v1/config", "{"),
    ("PUT", "/v1/config", {}),
    ("PUT", "/v1/config", {"Kind": "bogus", "Name": "x"}),
    ("PUT", "/v1/config", {"Kind": "service-defaults"}),
    ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "x", "Bogus": 1}),
    ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "*", "Protocol": "http"}),
    ("PUT", "/v1/config", {"Kind": "proxy-defaults", "Name": "other"}),
    ("PUT", "/v1/config", {"Kind": "mesh", "Name": "other"}),
    ("PUT", "/v1/config", {"Kind": "mesh", "TLS": {"Incoming": {"TLSMinVersion": "old"}}}),
    ("PUT", "/v1/config", {"Kind": "exported-services", "Name": "other", "Services": []}),
    ("PUT", "/v1/config", {"Kind": "exported-services", "Name": "default", "Services": [{"Name": "x", "Consumers": []}]}),
    ("PUT", "/v1/config", {"Kind": "exported-services", "Name": "default", "Services": [
        {"Name": "", "Consumers": [{"Peer": "p"}]}]}),
    ("PUT", "/v1/config", {"Kind": "exported-services", "Name": "default", "Services": [
        {"Name": "x", "Consumers": [{"Peer": "*"}]}]}),
    ("PUT", "/v1/config", {"Kind": "service-intentions", "Name": "x", "Sources": []}),
    ("PUT", "/v1/config", {"Kind": "service-intentions", "Name": "x", "Sources": [{"Name": "y"}]}),
    ("PUT", "/v1/config", {"Kind": "service-intentions", "Name": "x", "Sources": [{"Name": "y", "Action": "maybe"}]}),
    ("PUT", "/v1/config", {"Kind": "service-intentions", "Name": "x", "Sources": [
        {"Name": "y", "Action": "allow"}, {"Name": "y", "Action": "deny"}]}),
    ("PUT", "/v1/config", {"Kind": "service-intentions", "Name": "x", "Sources": [
        {"Name": "*", "Peer": "*a", "Action": "allow"}]}),
    *(("PUT", "/v1/config", {"Kind": "service-intentions", "Name": "web", "Sources": [{"Name": "y", **source}]})
      for source in (
          {"Action": "allow", "Permissions": [{"Action": "allow", "HTTP": {"PathExact": "/"}}]},
          {"Permissions": [{"Action": "allow"}]},
          {"Permissions": [{"HTTP": {"PathExact": "/"}}]},
          {"Permissions": [{"Action": "allow", "JWT": {"Providers": [{"Name": "x"}]}, "HTTP": {"PathExact": "/"}}]},
          *({"Permissions": [{"Action": "allow", "HTTP": http}]} for http in (
              {}, {"PathExact": "/a", "PathPrefix": "/b"}, {"PathExact": "a"}, {"PathPrefix": "a"}, {"Bogus": 1},
              {"Methods": ["FETCH"]}, {"Methods": ["GET", "get"]}, {"Header": [{"Name": "h"}]},
              {"Header": [{"Exact": "v"}]}, {"Header": [{"Name": "h", "Exact": "v", "Present": True}]},
              {"Header": [{"Name": "h", "Present": True, "IgnoreCase": True}]})))),
    ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "web", "Protocol": "tcp"}),
    ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "plain", "Protocol": "tcp"}),
    ("PUT", "/v1/config", {"Kind": "service-intentions", "Name": "plain", "Sources": [
        {"Name": "y", "Permissions": [{"Action": "allow", "HTTP": {"PathExact": "/"}}]}]}),
    ("PUT", "/v1/config", {"Kind": "service-intentions", "Name": "*", "Sources": [
        {"Name": "y", "Permissions": [{"Action": "allow", "HTTP": {"PathExact": "/"}}]}]}),
    ("POST", "/v1/connect/intentions", {"SourceName": "y", "DestinationName": "web", "SourceType": "consul",
                                        "Permissions": [{"Action": "allow", "HTTP": {"PathExact": "/"}}]}),
    ("PUT", "/v1/connect/intentions/exact?source=more&destination=web", {
        "Permissions": [{"Action": "deny", "HTTP": {"PathPrefix": "/", "Methods": ["put"]}}]}),
    ("DELETE", "/v1/connect/intentions/exact?source=more&destination=web", None),
    ("DELETE", "/v1/config/bogus/x", None),
    ("DELETE", "/v1/config/service-defaults/none", None),
    ("PUT", "/v1/connect/intentions/exact?source=a&destination=b", {"Action": "maybe"}),
    ("PUT", "/v1/connect/intentions/exact?source=a", {"Action": "allow"}),
    ("DELETE", "/v1/connect/intentions/exact?source=no&destination=no", None),
    ("POST", "/v1/peering/token", None),
    ("POST", "/v1/peering/token", {}),
    ("POST", "/v1/peering/token", {"PeerName": "Bad_Name"}),
    ("POST", "/v1/peering/token", {"PeerName": "dialed"}),
    ("POST", "/v1/peering/token", {"PeerName": "x", "Bogus": 1}),
    ("POST", "/v1/peering/token", {"PeerName": "x", "Partition": "other"}),
    ("POST", "/v1/peering/token", {"PeerName": "x", "Meta": {"": "v"}}),
    ("POST", "/v1/peering/establish", {}),
    ("POST", "/v1/peering/establish", {"PeerName": "x"}),
    ("POST", "/v1/peering/establish", {"PeerName": "x", "PeeringToken": "!!!"}),
    ("POST", "/v1/peering/establish", {"PeerName": "x", "PeeringToken": "aGVsbG8="}),
    ("POST", "/v1/peering/establish", {"PeerName": "x", "PeeringToken": "e30="}),
    ("POST", "/v1/peering/establish", {"PeerName": "accepted", "PeeringToken": "e30="}),
    ("PUT", "/v1/peering/token", {}),
    ("DELETE", "/v1/peering/none", None),
    ("DELETE", "/v1/peering/", None),
    ("POST", "/v1/catalog/nodes", None),
    ("GET", "/v1/agent/service/register", None),
    ("PUT", "/v1/connect/ca/configuration", {"Provider": "bogus"}),
    ("PUT", "/v1/agent/reload", None),
]

# What Consul takes and Pons refuses, with a part of what it says.
STRICTER = [
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Port": 70000}, "70000 is no port"),
    ("PUT", "/v1/agent/service/register", {"Name": "x", "Kind": "bogus"}, "kind \"bogus\" is not supported"),
    ("PUT", "/v1/config", {"Kind": "exported-services", "Name": "default", "Services": [
        {"Name": "x", "Consumers": [{}]}]}, "Services[0].Consumers[0]: must define Peer"),
    ("PUT", "/v1/config", {"Kind": "service-intentions", "Name": "web", "Sources": [
        {"Name": "y", "Permissions": [{"Action": "allow", "HTTP": {"PathRegex": "/("}}]}]},
     "the regular expression \"/(\" has a ( that is not closed"),
]

MERGED = r"(Service)?Proxy\.(MeshGateway\.Mode|Config|Upstreams\[\d\]\.(Datacenter|MeshGateway\.Mode|Config))$"
OWN_SIDECAR = r"(Service)?Proxy\.(DestinationService(ID|Name)|LocalService(Address|Port))$"


def both_refuse(consul, pons):
    return isinstance(consul, str) and isinstance(pons, str) and "" not in (consul, pons)


# name: (where in "METHOD path place", whether the two values are what the difference means)
NAMED = {
    "the words of a refusal": (r" body$", both_refuse),
    "a bad request is 400": (
        r"(catalog/(de)?register|intentions(/exact|/match|/check)?(\?.*)?) status$", lambda consul, pons: (consul, pons) == (500, 400)),
    "members are the agent itself": (
        r"GET /v1/agent/members body\[0\]\.(Port|Tags\.(bootstrap|build|ft_fs|ft_si|wan_join_port))$", lambda consul, pons: True),
    "checks look the same on every route": (
        r"GET /v1/agent/health/service/.*Checks\[0\]\.(Definition\.\w+|Interval|Timeout|Type)$", lambda consul, pons: True),
    "text has a character set": (
        r"format=text type$", lambda consul, pons: pons == f"{consul}; charset=utf-8"),
    "leaves carry the usual headers": (
        r"ca/leaf/web headers$", lambda consul, pons: set(consul) < set(pons)),
    "a service is not its own sidecar's proxy": (
        r"(Services\.web|Services\[\d\]|health/service/web.*Service|catalog/service/web.*)\.?" + OWN_SIDECAR,
        lambda consul, pons: pons is None),
    "the catalog shows what was registered": (MERGED, lambda consul, pons: pons is None),
    "the version is our own too": (r"Meta\.pons_version$", lambda consul, pons: consul is None),
    "HTTP checks give the status as a number": (
        r"Output$", lambda consul, pons: consul.replace("200 OK", "200") == pons),
    "refused methods carry no policy header": (
        r"^(PUT /v1/peering/token|POST /v1/catalog/nodes|GET /v1/agent/service/register) headers$",
        lambda consul, pons: pons == []),
}


def define(agent, ports):
    agent.register({"Name": "web", "ID": "web", "Port": SERVICE_PORT, "Address": "127.0.0.1", "Tags": ["a", "b"],
                    "Meta": {"version": "1"}, "Weights": {"Passing": 3, "Warning": 2},
                    "TaggedAddresses": {"lan": {"Address": "127.0.0.5", "Port": 99}},
                    "Check": {"CheckID": "alive", "Name": "alive", "TTL": "1h", "Status": "passing", "Notes": "n"},
                    "Connect": {"SidecarService": {"Port": 1500, "Checks": [{"Name": "Alias", "AliasService": "web"}],
                                                   "Proxy": {"Upstreams": [
                                                       {"DestinationName": "remote", "DestinationPeer": "dialed",
                                                        "LocalBindPort": 9191, "Config": {"connect_timeout_ms": 7}},
                                                       {"DestinationName": "api", "LocalBindPort": 9192}],
                                                       "Config": {"protocol": "http", "local_connect_timeout_ms": 5}}}}})
    agent.register({"Name": "api", "Port": 81, "EnableTagOverride": True, "Checks": [
        {"CheckID": "tcp", "Name": "tcp", "TCP": f"127.0.0.1:{ports['server']}", "Interval": "1s", "Timeout": "3s"},
        {"HTTP": f"http://127.0.0.1:{ports['http']}/v1/status/leader", "Interval": "1s", "Header": {"X": ["y"]},
         "Method": "GET", "DeregisterCriticalServiceAfter": "90h"}]})
    agent.register({"Kind": "mesh-gateway", "Name": "gw", "Port": 8443, "Address": "127.0.0.1",
                    "TaggedAddresses": {"wan": {"Address": "127.0.0.2", "Port": 443}}})
    agent.put("/v1/catalog/register", {
        "Node": "outside", "Address": "10.0.0.1", "NodeMeta": {"external": "yes"},
        "Service": {"Service": "external", "Port": 90, "Tags": ["t"]},
        "Checks": [{"Name": "up", "CheckID": "up", "Status": "warning", "ServiceID": "external", "Output": "so so"}]})
    agent.config_entry({"Kind": "service-defaults", "Name": "web", "Protocol": "http", "Meta": {"k": "v"}})
    agent.config_entry({"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http"},
                        "MeshGateway": {"Mode": "remote"}})
    agent.config_entry({"Kind": "mesh", "TLS": {"Incoming": {"TLSMinVersion": "TLSv1_2"}}})
    agent.config_entry({"Kind": "service-intentions", "Name": "web", "Sources": [
        {"Name": "api", "Action": "allow", "Description": "d"}, {"Name": "far", "Peer": "dialed", "Action": "allow"},
        {"Name": "permitted", "Permissions": [
            {"Action": "allow", "HTTP": {"PathPrefix": "/v1", "Methods": ["GET", "put"], "Header": [
                {"Name": "a", "Exact": "b", "Invert": True, "IgnoreCase": True}, {"Name": "c", "Present": True}]}},
            {"Action": "deny", "HTTP": {"PathRegex": "/x.*"}}]},
        {"Name": "*", "Action": "deny"}]})
    export(agent, ["web"], ["dialed", "accepted"])


class Pair:
    def __init__(self, lab):
        self.lab, self.compared, self.seen = lab, 0, set()
        self.consul, self.pons = lab.consul("dc", node="node"), lab.agent("dc", node="node")
        hubs = [lab.consul(f"hub-{role}") for role in ("accepts", "dials")]
        for hub in hubs:
            hub.register({"Name": "remote", "Port": 70, "Address": "127.0.0.1", "Connect": {"Native": True},
                          "Check": {"CheckID": "r", "TTL": "1h", "Status": "passing"}})
            hub.register({"Kind": "mesh-gateway", "Name": "gw", "Port": 8443, "Address": "127.0.0.1"})
            export(hub, ["remote"], ["for-consul", "for-pons"])
        for name, agent in (("consul", self.consul), ("pons", self.pons)):
            define(agent, hubs[0].ports)
            self.peer(hubs[0], agent, f"for-{name}", "dialed")
            self.peer(agent, hubs[1], "accepted", f"for-{name}")
            wait_for(lambda: all(check["Status"] == "passing" for check in agent.get("/v1/health/checks/api")), "checks")
        for agent in (self.consul, self.pons):
            for peer in ("dialed", "accepted"):
                wait_for(lambda: agent.get(f"/v1/health/connect/remote?peer={peer}"), "imports")
                wait_for(lambda: agent.get(f"/v1/peering/{peer}")["StreamStatus"]["ExportedServices"], "exports")
        self.names = {}
        for agent in (self.consul, self.pons):
            names = self.names[agent] = Names()
            names.add("TD", agent.trust_domain())
            names.add("TD id", agent.trust_domain().split(".")[0])
            names.add("start of TD", agent.trust_domain().split(".")[0][:8])
            names.add("who", "for-consul" if agent is self.consul else "for-pons")
            for port, number in agent.ports.items():
                names.add(f"port {port}", number)
            for hub in hubs:
                names.add(f"{hub.datacenter} TD", hub.trust_domain())
                for port, number in hub.ports.items():
                    names.add(f"{hub.datacenter} {port}", number)

    @staticmethod
    def peer(acceptor, dialer, acceptor_name, dialer_name):
        token = wait_for(lambda: acceptor.api("POST", "/v1/peering/token", {"PeerName": acceptor_name}).json(), "a token")
        dialer.api("POST", "/v1/peering/establish", {"PeerName": dialer_name, **token})

    def normal(self, agent, answer):
        """Status, content type and body; what has an order only by chance is sorted."""
        try:
            body = normal(self.names[agent].apply(answer.json()))
        except ValueError:
            body = plain(self.names[agent].apply(answer.text))
        return {"status": answer.status, "type": answer.headers["Content-Type"], "body": body,
                "headers": sorted(name.lower() for name in answer.headers if name.lower().startswith("x-consul"))}

    def compare(self, method, path, body=None):
        path = path.replace("NODE", "node")
        sides = [self.normal(agent, agent.api(method, path, body, ok=False)) for agent in (self.consul, self.pons)]
        self.compared += 1
        refused = all(side["status"] >= 400 for side in sides)
        return [f"{place}\n    consul: {json.dumps(left)}\n    pons:   {json.dumps(right)}"
                for place, left, right in differences(*sides)
                if not self.named(f"{method} {path} {place}", left, right, refused)]

    def named(self, where, left, right, refused):
        for name, (pattern, holds) in NAMED.items():
            if re.search(pattern, where) and holds(left, right) and (refused or name != "the words of a refusal"):
                self.seen.add(name)
                return True
        return False


def plain(text):
    text = re.sub(r"^240\.0\.\d+\.\d+$", "<virtual address>", text)  # given in the order of arrival
    return TIME.sub("<time>", UUID.sub("<uuid>", FINGERPRINT.sub("<fingerprint>", text)))


def normal(value, key=""):
    if isinstance(value, dict):
        return {plain(name): normal(child, name) for name, child in value.items()}
    if isinstance(value, list):
        return sorted((normal(child) for child in value), key=lambda item: json.dumps(item, sort_keys=True))
    if key in ("ContentHash", "Hash"):
        return "<hash>"
    if NUMBERS.search(key) and not isinstance(value, bool):
        return f"<{type(value).__name__}>"
    return plain(value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("http"))
    try:
        yield Pair(lab)
    finally:
        lab.close()


@pytest.mark.parametrize("path", READS)
def test_read(pair, path):
    assert not (found := pair.compare("GET", path)), "\n".join(["differences without a name:", *found])


@pytest.mark.parametrize("method, path, body, words", STRICTER, ids=lambda value: value if isinstance(value, str) else None)
def test_stricter(pair, method, path, body, words):
    assert pair.consul.api(method, path, body, ok=False).status == 200
    refused = pair.pons.api(method, path, body, ok=False)
    assert refused.status >= 400 and words in refused.text


def test_namespaces_are_for_everyone(pair):
    refused = pair.consul.api("GET", "/v1/catalog/services?ns=other", ok=False)
    assert refused.status == 400 and "Enterprise" in refused.text
    assert pair.pons.get("/v1/catalog/services?ns=other") == {}


@pytest.mark.parametrize("method, path, body", WRITES, ids=lambda value: value if isinstance(value, str) else None)
def test_write(pair, method, path, body):
    assert not (found := pair.compare(method, path, body)), "\n".join(["differences without a name:", *found])


def test_no_name_is_left_over(pair):
    if pair.compared == len(READS) + len(WRITES):
        assert pair.seen == set(NAMED), "a difference that is gone"
