"""A peer's gateway that is down is not offered."""
import signal

from harness import add_gateway, status_of, wait_for
from pair import Pair


def endpoints(envoy):
    """A line for each endpoint of the peer's backend, as the Envoy has it."""
    text = envoy.admin("/clusters").text
    return [line for line in text.splitlines()
            if line.startswith("backend.default.cluster-02") and "health_flags" in line]


def left_out(envoy):
    return any("failed_eds_health" in line for line in endpoints(envoy))


def test_one_of_two_gateways_dies(lab, envoys):
    """With two gateways, the death of one must cost no request once it is known, nor need anybody's hand."""
    pair = Pair(lab)
    second = add_gateway(pair.dc2, "gateway-b")
    wait_for(lambda: len(endpoints(pair.frontend)) == 2, "both gateways to be offered")
    wait_for(lambda: all("health_flags::healthy" in line for line in endpoints(pair.frontend)),
             "both gateways to be healthy")
    pair.gateway2.process.stop(signal.SIGKILL)
    wait_for(lambda: left_out(pair.frontend), "the dead gateway to be left out", timeout=40)
    assert [status_of(pair.http_port) for _ in range(40)] == [200] * 40
    pair.gateway2.process.start()
    wait_for(lambda: not left_out(pair.frontend), "the gateway to be back", timeout=40)
    second.process.stop()
    wait_for(lambda: left_out(pair.frontend), "the other to be left out", timeout=40)
    assert [status_of(pair.http_port) for _ in range(40)] == [200] * 40
