"""Calls between a Pons cluster and a real Consul cluster, either of them dialing, through the gateways of both."""
import pytest

from harness import Lab, wait_for
from pairs import SERVICES, Pair


@pytest.fixture(scope="module", params=["pons dials", "consul dials"])
def pair(request, tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("pair"))
    try:
        pair = Pair(lab, request.param == "pons dials")
        pair.peer()
        for side in pair.both():
            side.export(*SERVICES)
            for name in SERVICES:
                side.intend(name)
        yield pair
    finally:
        lab.close()


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("importer", ["consul", "pons"])
def test_call(pair, importer, name):
    getattr(pair, importer).can_reach(name)
