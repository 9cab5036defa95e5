"""The log can be followed from afar, at a level of one's own."""
import http.client
import json
import threading

from harness import wait_for


class Follower:
    def __init__(self, agent, query):
        self.connection = http.client.HTTPConnection(agent.host, agent.ports["http"], timeout=20)
        self.connection.request("GET", f"/v1/agent/monitor?{query}")
        self.answer = self.connection.getresponse()
        self.lines = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for line in self.answer:
                self.lines.append(line.decode())
        except (OSError, ValueError, AttributeError, http.client.HTTPException):  # closed while it reads
            pass

    def close(self):
        self.connection.sock.shutdown(2)
        self.connection.close()


def test_the_log_is_followed_while_the_agent_runs(lab):
    agent = lab.agent("dc1")
    plain, typed = Follower(agent, "loglevel=debug"), Follower(agent, "loglevel=debug&logjson")
    errors = Follower(agent, "loglevel=err")
    assert plain.answer.status == 200
    agent.register({"Name": "web"})
    wait_for(lambda: any("[DEBUG]" in line and "service/register" in line for line in plain.lines), "a line")
    wait_for(lambda: any(json.loads(line)["@level"] == "debug" for line in typed.lines), "an event in JSON")
    assert errors.lines == []
    assert "[DEBUG]" not in agent.process.text(), "the agent's own log keeps its level"
    plain.close()
    agent.register({"Name": "web2"})
    wait_for(lambda: any("from=a client that has left" in line for line in typed.lines), "the end of the first")
    assert agent.process.stop() in (0, 1), "a follower does not keep an agent from ending"
    wait_for(lambda: typed.answer.isclosed(), "the end of the second")


def test_an_unknown_level_is_refused(lab):
    answer = lab.agent("dc1").api("GET", "/v1/agent/monitor?loglevel=loud", ok=False)
    assert answer.status == 400 and answer.text == "Unknown log level: loud"
