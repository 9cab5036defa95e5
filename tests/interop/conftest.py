import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness import Lab, find_consul, find_envoy  # noqa: E402


def pytest_collection_modifyitems(items):
    here = pathlib.Path(__file__).resolve().parent
    missing = []
    if not find_consul():
        missing.append("no Consul: name one in CONSUL_BIN or put it on PATH")
    if not find_envoy():
        missing.append("no Envoy: script/bootstrap puts one into .venv")
    if missing:
        skip = pytest.mark.skip(reason="; ".join(missing))
        for item in items:
            own = getattr(item.module, "NEEDS_CONSUL", True)
            if own and here in pathlib.Path(str(item.fspath)).parents:
                item.add_marker(skip)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when in ("setup", "call") and report.failed:
        pair = item.funcargs.get("pair") or item.funcargs.get("fresh")
        lab = item.funcargs.get("lab") or (pair.lab if pair is not None else None)
        if lab is not None:
            lab.show_logs()


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    lab.close()
