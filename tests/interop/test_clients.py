"""Client libraries that were written for Consul work with Pons as they are.

Libraries come from their registries into .cache/clients, once; where none can be reached, the tests are skipped.
"""
import pathlib
import subprocess
import sys

import pytest

from harness import ROOT, run

NEEDS_CONSUL = False

CACHE = ROOT / ".cache" / "clients"
SCRIPTS = pathlib.Path(__file__).resolve().parent / "clients"
PY_CONSUL = "py-consul==1.8.0"


def quietly(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="session")
def python_with_py_consul():
    folder = CACHE / PY_CONSUL.replace("==", "-")
    python = folder / "bin" / "python"
    if not (python.exists() and quietly(python, "-c", "import consul").returncode == 0):
        made = quietly(sys.executable, "-m", "venv", "--clear", folder)
        if made.returncode == 0:
            made = quietly(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                           "--retries", "1", "--timeout", "10", PY_CONSUL)
        if made.returncode != 0:
            pytest.skip(f"{PY_CONSUL} cannot be had from PyPI: {made.stderr.strip().splitlines()[-1:]}")
    return str(python)


def test_py_consul(lab, python_with_py_consul):
    here, there = lab.agent("dc1"), lab.agent("dc2")
    done = run([python_with_py_consul, str(SCRIPTS / "py_consul_round.py"),
                str(here.ports["http"]), str(there.ports["http"])], timeout=120)
    assert done.returncode == 0 and done.stdout.endswith("all done\n"), f"{done.stdout}\n{done.stderr}"
