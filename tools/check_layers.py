#!/usr/bin/env python3
"""The layer check: a file in src/<folder> includes only headers of its own folder and of folders that stand
above it. Tools, tests and generated headers are not its business."""
import pathlib
import re
import sys

LAYERS = ["base", "text", "net", "proto", "store", "acl", "ca", "config", "chain", "intention", "catalog",
          "peering", "mesh", "xds", "http", "dns", "rpc", "agent", "cli"]
# The codec of text/ works on generated tables, and the wire helpers of proto/ are used by all below.
GENERATED = {"consul": "proto", "pons": "proto", "envoy": "proto", "google": "proto"}

root = pathlib.Path(__file__).resolve().parent.parent / "src"
wrong = []
for path in sorted(root.rglob("*.[ch]")):
    folder = path.relative_to(root).parts[0]
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+"([^"/]+)/', line)
        if not match:
            continue
        target = GENERATED.get(match.group(1), match.group(1))
        if target not in LAYERS or LAYERS.index(target) > LAYERS.index(folder):
            wrong.append(f"src/{path.relative_to(root)}:{number}: {folder}/ must not include {match.group(1)}/")
print("\n".join(wrong) or "layers: every include points upwards")
sys.exit(1 if wrong else 0)
