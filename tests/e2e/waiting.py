"""Blocking queries that run beside a test."""
import threading
import time


class Waiting:
    """A blocking query in a thread."""

    def __init__(self, agent, path):
        self.answer = self.took = None

        def ask():
            began = time.monotonic()
            try:
                self.answer = agent.api("GET", path, timeout=40)
            except OSError as error:
                self.answer = error
            self.took = time.monotonic() - began
        self.thread = threading.Thread(target=ask, daemon=True)
        self.thread.start()

    def done(self):
        return not self.thread.is_alive()

    def wait(self):
        self.thread.join(30)
        assert self.done(), "the blocking query did not answer"
        return self.answer


def index_of(agent, path):
    return int(agent.api("GET", path).headers["X-Consul-Index"])
