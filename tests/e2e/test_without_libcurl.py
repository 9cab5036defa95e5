"""libcurl is loaded when it is first needed. Where it is missing, what needs it says so, and nothing else suffers."""
import pytest

from harness import run, wait_for


@pytest.fixture
def no_libcurl(tmp_path, monkeypatch):
    (tmp_path / "libcurl.so.4").write_text("not a library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))


def test_an_http_check_is_critical_and_says_why(lab, no_libcurl):
    agent = lab.agent("dc1")
    agent.register({"Name": "web", "Port": 80, "Check": {"HTTP": agent.url("/v1/status/leader"), "Interval": "1s"}})
    wait_for(lambda: "libcurl.so.4" in agent.get("/v1/agent/checks")["service:web"]["Output"], "the reason")
    assert agent.get("/v1/agent/checks")["service:web"]["Status"] == "critical"


def test_the_command_line_says_why(lab, no_libcurl):
    agent = lab.agent("dc1")
    done = run([agent.binary, "members"], env=agent.env())
    assert done.returncode == 1
    assert "libcurl.so.4" in done.stderr
