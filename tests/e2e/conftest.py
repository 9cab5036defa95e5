import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness import Lab, find_envoy  # noqa: E402
from pair import Pair  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when in ("setup", "call") and report.failed:
        labs = {getattr(value, "lab", value) for value in item.funcargs.values()
                if isinstance(getattr(value, "lab", value), Lab)}
        for lab in labs:
            lab.show_logs()


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def module_lab(tmp_path_factory):
    """A lab that the tests of one file share."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


@pytest.fixture(scope="session")
def envoys():
    """Tests that need a real Envoy ask for this."""
    if find_envoy() is None:
        pytest.skip("no Envoy: script/bootstrap puts one into .venv")


@pytest.fixture(scope="session")
def shared_pair(tmp_path_factory, envoys):
    lab = Lab(tmp_path_factory.mktemp("pair"))
    try:
        yield Pair(lab)
    except BaseException:
        lab.show_logs()
        raise
    finally:
        lab.close()


@pytest.fixture
def pair(shared_pair):
    """Two peered clusters whose calls pass; what a test changes, the next one finds restored."""
    shared_pair.restore()
    return shared_pair
