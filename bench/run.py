"""The benchmarks in one run, Pons and Consul in turn. Started by script/bench."""
import argparse
import datetime
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys

import figures
import mesh
import peerings
import single
from measure import ROOT, Lab, harness

# name: (figures, function, rounds, needs Envoy)
BENCHMARKS = {
    "size": (single.SIZE, single.measure_size, 1, False),
    "start": (single.START, single.measure_start, 3, False),
    "rest": (single.REST, single.measure_rest, 3, False),
    "establish": (peerings.ESTABLISH, peerings.measure_establish, 3, False),
    "scale": (peerings.SCALE, peerings.measure_scale, 3, False),
    "gateway": (mesh.GATEWAY, mesh.measure_gateway, 3, True),
    "health": (single.HEALTH, single.measure_health, 3, False),
    "wait": (single.WAIT, single.measure_wait, 3, False),
    "calls": (mesh.CALLS, mesh.measure_calls, 3, True),
}


class Options:
    def __init__(self, quick):
        self.quick = quick

    def many(self, count):
        return max(2, count // 3) if self.quick else count

    def seconds(self, seconds):
        return max(2, seconds // 3) if self.quick else seconds

    def rounds(self, rounds):
        return 1 if self.quick else rounds


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def run(name, sides, options):
    """{side: {figure: values of all rounds}}"""
    _, measure, rounds, needs_envoy = BENCHMARKS[name]
    values = {side: {} for side in sides}
    if needs_envoy and harness.find_envoy() is None:
        say(f"{name}: left out, there is no Envoy (script/bootstrap installs one)")
        return values
    for turn in range(options.rounds(rounds)):
        for side in sides:
            say(f"{name}: round {turn + 1}, {side}")
            with Lab() as lab:
                for figure, found in measure(side, lab, options).items():
                    values[side].setdefault(figure, []).extend(found)
    return values


def version(binary):
    return subprocess.run([binary, "version"], capture_output=True, text=True).stdout.splitlines()[0]


def conditions(sides, options):
    cpu = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True,
                                 text=True).stdout.strip(),
        "versions": {side: version(single.binary(side)) for side in sides},
        "cpus": os.cpu_count(), "cpu": cpu, "kernel": platform.release(), "quick": options.quick,
        "load_before": round(os.getloadavg()[0], 1),
    }


def save(result):
    folder = ROOT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    file = folder / f"{result['conditions']['when'].replace(':', '').replace('+0000', 'Z')}.json"
    file.write_text(json.dumps(result, indent=1) + "\n")
    return file.relative_to(ROOT)


def main():
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__.splitlines()[0],
                                     epilog="CONSUL_BIN, or a consul on PATH, is the one to compare with.")
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; otherwise all")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that labs end what they started
    options = Options(arguments.quick)
    sides = ["pons"] + (["consul"] if harness.find_consul() else [])
    about = conditions(sides, options)
    lines, measured = [], []
    for name in arguments.names or BENCHMARKS:
        for line, data in figures.rows(BENCHMARKS[name][0], run(name, sides, options)):
            lines.append(line)
            measured.append(data)
    about["load_after"] = round(os.getloadavg()[0], 1)
    print(f"{' against '.join(about['versions'].values())}, {about['cpus']} CPUs ({about['cpu']}), "
          f"{about['when']}, load {about['load_before']} before; median (smallest–largest)\n")
    print(figures.table(lines, len(sides) > 1))
    print(f"\nAlso in {save({'conditions': about, 'figures': measured})}")


if __name__ == "__main__":
    main()
