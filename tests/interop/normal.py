"""What an Envoy holds, without what must differ between two clusters: trust domains, certificates, ports, times."""
import json
import re
import time

from harness import wait_for

DROPPED = {"version_info", "last_updated", "client_status"}
SETS = {"trust_domains", "ids"}  # sorted by what was made into names, or without an order that counts
PEM = re.compile(r"(-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----\s*)+", re.S)


def order(item):
    return json.dumps(item, sort_keys=True).replace("\\\\", "")


class Names:
    """Turns what is particular to one run into names: `add("TD1", trust_domain)`, `add("gateway", port)`."""

    def __init__(self):
        self.texts, self.ports = [], {}

    def add(self, name, value):
        if isinstance(value, int):
            self.ports[str(value)] = f"<{name}>"
        else:
            self.texts.append((value, f"<{name}>"))

    def apply(self, value):
        if isinstance(value, dict):
            applied = {self.apply(key): self.apply(child) for key, child in value.items() if key not in DROPPED}
            return {key: sorted(child, key=order) if key in SETS else child for key, child in applied.items()}
        if isinstance(value, list):
            return [self.apply(child) for child in value]
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            return self.ports.get(str(value), value)
        if isinstance(value, str):
            if value in self.ports:
                return self.ports[value]
            value = PEM.sub(lambda match: f"<{len(re.findall('BEGIN', match[0]))} PEM>", value)
            for text, name in self.texts:
                value = value.replace(text, name)
            return re.sub(r"(?<=:)\d{4,5}\b", lambda match: self.ports.get(match[0], match[0]), value)
        return value


def trust_bundle(value):
    """A bundle that stands in the dump as base64 is a certificate too."""
    if isinstance(value, dict):
        return {key: "<PEM>" if key in ("inline_bytes", "inline_string") else trust_bundle(child)
                for key, child in value.items()}
    return [trust_bundle(child) for child in value] if isinstance(value, list) else value


def resources(dump):
    """Of a config dump: {"cluster/NAME": …, "listener/NAME": …, "route/NAME": …, "endpoint/NAME": …}, dynamic ones."""
    found = {}
    for section in dump["configs"]:
        for entry in section.get("dynamic_active_clusters", []):
            found[f"cluster/{entry['cluster']['name']}"] = entry["cluster"]
        for entry in section.get("dynamic_listeners", []):
            if "active_state" in entry:
                found[f"listener/{entry['name']}"] = entry["active_state"]["listener"]
        for entry in section.get("dynamic_route_configs", []):
            found[f"route/{entry['route_config']['name']}"] = entry["route_config"]
        for entry in section.get("dynamic_endpoint_configs", []):
            config = entry["endpoint_config"]
            found[f"endpoint/{config['cluster_name']}"] = config
    return found


def settled(envoy, names, timeout=30):
    """The resources once they have not changed for a second."""
    last = {"text": None, "since": 0}

    def same():
        now = time.monotonic()
        found = names.apply(trust_bundle(resources(envoy.dump())))
        text = json.dumps(found, sort_keys=True)
        if text != last["text"]:
            last.update(text=text, since=now)
        return now - last["since"] > 1 and found
    return wait_for(same, f"{envoy.name} to settle", timeout)


def is_named_list(value):
    """Such as HTTP filters, which stay comparable where one side has one more."""
    return isinstance(value, list) and len(value) > 0 and all(
        isinstance(item, dict) and "name" in item for item in value)


def differences(left, right, path=""):
    """[(path, left, right)]; a path is like `cluster/x.connect_timeout` or `listener/y.filter_chains[0].filters`."""
    if isinstance(left, dict) and isinstance(right, dict):
        found = []
        for key in sorted({*left, *right}):
            place = f"{path}.{key}" if path else key
            if key not in left:
                found.append((place, None, right[key]))
            elif key not in right:
                found.append((place, left[key], None))
            else:
                found += differences(left[key], right[key], place)
        return found
    if is_named_list(left) and is_named_list(right) and len(left) != len(right):
        return differences({item["name"]: item for item in left}, {item["name"]: item for item in right}, path)
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return [item for index, (one, other) in enumerate(zip(left, right))
                for item in differences(one, other, f"{path}[{index}]")]
    return [] if left == right else [(path, left, right)]
