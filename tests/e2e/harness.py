"""Real processes on loopback for the end-to-end tests: agents, Envoys, small services.

Everything a test starts is kept in its `Lab`, which ends it (by its own pid) and, if the test failed, shows
the log of each. Nothing sleeps for a fixed time: `wait_for` polls a condition.
"""
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PONS = os.environ.get("PONS_BIN", str(ROOT / "build" / "pons"))
TIMEOUT = 30


def find_envoy():
    """ENVOY_BIN names another version than the bundled one."""
    if os.environ.get("ENVOY_BIN"):
        return os.environ["ENVOY_BIN"]
    bundled = ROOT / ".venv" / "bin" / "envoy"
    return str(bundled) if bundled.exists() else shutil.which("envoy")


def find_consul():
    return os.environ.get("CONSUL_BIN") or shutil.which("consul")


SANITIZER = re.compile(r"ERROR: (Address|Leak)Sanitizer|runtime error:|SUMMARY: \w*Sanitizer")
REJECTED = re.compile(r"config for \S+ rejected|Rejecting|Unable to parse JSON as proto")
_given = set()


def free_port():
    """A port that was free just now and that this run has not given out before; below the ephemeral range."""
    import random
    while True:
        port = random.randrange(15000, 32000)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def wait_for(condition, what, timeout=TIMEOUT):
    """Polls until the condition gives something true, and returns that; exceptions count as not yet."""
    end = time.monotonic() + timeout
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except Exception as error:  # the reason is shown if it never works
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for {what}; last: {last!r}")
        time.sleep(0.02)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.text = body.decode(errors="replace")

    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"<{self.status} {self.text[:300]!r}>"


def request(method, url, body=None, headers=None, timeout=15):
    data = body if body is None or isinstance(body, bytes) else (
        body.encode() if isinstance(body, str) else json.dumps(body).encode())
    call = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(call, timeout=timeout) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


class Process:
    def __init__(self, name, arguments, log, env=None):
        self.name, self.log, self.arguments, self.env = name, log, arguments, env
        self.popen = None
        self.start()

    def start(self):
        with open(self.log, "ab") as output:
            self.popen = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                          env={**os.environ, **(self.env or {})}, start_new_session=True)

    def running(self):
        return self.popen.poll() is None

    def stop(self, how=signal.SIGTERM):
        if self.running():
            self.popen.send_signal(how)
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        return self.popen.returncode

    def text(self):
        return pathlib.Path(self.log).read_text(errors="replace")

    def wait_end(self, timeout=10):
        """The exit code, once it has ended by itself."""
        return self.popen.wait(timeout)


def run(arguments, env=None, stdin=None, cwd=None, timeout=60):
    """A command to its end; a sanitizer's report fails the test."""
    done = subprocess.run(arguments, env={**os.environ, **(env or {})}, input=stdin, cwd=cwd,
                          stdin=subprocess.DEVNULL if stdin is None else None,
                          capture_output=True, text=True, timeout=timeout)
    assert not SANITIZER.search(done.stderr), f"{arguments}:\n{done.stderr}"
    return done


class Agent:
    """A Pons agent; `Consul` below is the real thing with the same face."""
    binary = PONS
    ports_off = {}

    def __init__(self, lab, datacenter, node=None, data_dir=None, config="", dev=True,
                 arguments=()):
        self.lab, self.datacenter = lab, datacenter
        self.node = node or f"server-{datacenter}"
        self.host = "127.0.0.1"
        self.ports = {name: free_port() for name in self.port_names()}
        self.data_dir = data_dir
        self.folder = lab.folder / f"agent-{len(lab.agents)}-{datacenter}"
        self.folder.mkdir()
        ports = " ".join(f"{name} = {port}\n" for name, port in {**self.ports, **self.ports_off}.items())
        self.config = self.folder / "agent.hcl"
        self.config.write_text(
            f'datacenter = "{datacenter}"\nnode_name = "{self.node}"\nbind_addr = "{self.host}"\n'
            f'client_addr = "{self.host}"\nports {{\n {ports}}}\n{self.extra_config()}{config}\n')
        arguments = [self.binary, "agent", f"-config-file={self.config}", *arguments]
        arguments += ["-dev"] if dev else ["-server", f"-data-dir={data_dir}", *self.server_arguments()]
        self.process = lab.process(f"agent {datacenter}", arguments)
        lab.agents.append(self)
        self.wait_ready()

    def port_names(self):
        return ["http", "grpc", "grpc_tls", "server"]

    def extra_config(self):
        return ""

    def server_arguments(self):
        return []

    def url(self, path):
        return f"http://{self.host}:{self.ports['http']}{path}"

    def api(self, method, path, body=None, ok=True, **options):
        answer = request(method, self.url(path), body, **options)
        if ok:
            assert answer.status == 200, f"{method} {path} on {self.datacenter}: {answer!r}"
        return answer

    def get(self, path, **options):
        return self.api("GET", path, **options).json()

    def put(self, path, body=None, **options):
        return self.api("PUT", path, body, **options)

    def wait_ready(self):
        def ready():
            assert self.process.running(), f"agent {self.datacenter} ended: {self.process.text()[-2000:]}"
            leader = self.get("/v1/status/leader")
            roots = self.get("/v1/connect/ca/roots")
            return leader and roots["Roots"]
        wait_for(ready, f"agent {self.datacenter} to be ready")

    def restart(self, how=signal.SIGKILL):
        self.process.stop(how)
        self.process.start()
        self.wait_ready()

    def env(self):
        return {"CONSUL_HTTP_ADDR": f"{self.host}:{self.ports['http']}",
                "CONSUL_GRPC_ADDR": f"http://{self.host}:{self.ports['grpc']}"}

    def cli(self, *arguments, check=True, stdin=None):
        done = run([self.binary, *arguments], env=self.env(), stdin=stdin)
        if check:
            assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def config_entry(self, entry):
        self.put("/v1/config", entry)

    def register(self, definition):
        self.put("/v1/agent/service/register", definition)

    def trust_domain(self):
        return self.get("/v1/connect/ca/roots")["TrustDomain"]


class Consul(Agent):
    binary = find_consul()
    ports_off = {"dns": -1}

    def port_names(self):
        return ["http", "grpc", "grpc_tls", "server", "serf_lan", "serf_wan"]

    def extra_config(self):
        return ("disable_update_check = true\nconnect { enabled = true }\n"
                "performance { raft_multiplier = 1 }\n")

    def server_arguments(self):
        return ["-bootstrap-expect=1"]


class Envoy:
    """An Envoy that `connect envoy` of its agent has made and started."""
    options = ()

    def __init__(self, agent, name, arguments, lab=None):
        self.agent, self.name = agent, name
        self.lab = lab or agent.lab
        self.admin_port = free_port()
        command = [agent.binary, "connect", "envoy", *arguments, f"-admin-bind=127.0.0.1:{self.admin_port}",
                   f"-envoy-binary={find_envoy()}"]
        if isinstance(agent, Consul):
            command.append("-ignore-envoy-compatibility")
        command += ["--", "--concurrency", "1", "-l", "warning", "--base-id", str(free_port()), *self.options]
        self.process = self.lab.process(f"envoy {name}", command, env=agent.env())

    def admin(self, path):
        return request("GET", f"http://127.0.0.1:{self.admin_port}{path}")

    def dump(self):
        return self.admin("/config_dump?include_eds").json()

    def wait_listener(self, prefix):
        wait_for(lambda: prefix in self.admin("/listeners").text, f"{self.name}: listener {prefix}")
        return self

    def restart(self):
        self.process.stop(signal.SIGKILL)
        self.process.start()


class HttpService:
    """An HTTP service that answers with its name and its `status`, once its `gate` is open."""

    def __init__(self, name):
        service = self
        self.name, self.port, self.seen = name, free_port(), []
        self.status, self.body, self.gate = 200, None, threading.Event()
        self.gate.set()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                service.seen.append(dict(self.headers))
                service.gate.wait()
                body = service.body or f"hello from {service.name}: {self.path}\n".encode()
                self.send_response(service.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_POST = do_DELETE = do_GET

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class EchoService:
    """A TCP service that answers every line with its name and the line."""

    def __init__(self, name, port=None, host="127.0.0.1"):
        service = self
        self.name, self.port = name, port or free_port()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    self.wfile.write(f"{service.name}: ".encode() + line)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        self.server = Server((host, self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def http_call(port, path="/", timeout=5):
    return request("GET", f"http://127.0.0.1:{port}{path}", timeout=timeout)


class KeptAlive:
    """One HTTP connection that stays open from call to call; it fails where a client's would."""

    def __init__(self, port, timeout=5):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.connection.connect()
        self.own = self.connection.sock.getsockname()

    def call(self, path="/"):
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        answer.read()
        assert self.connection.sock is not None, "the connection was closed"
        assert self.connection.sock.getsockname() == self.own, "the connection was made anew"
        return answer.status

    def close(self):
        self.connection.close()


def status_of(port, path="/", timeout=5):
    """The HTTP status, or 0 if there was no answer."""
    try:
        return http_call(port, path, timeout).status
    except (OSError, http.client.HTTPException):
        return 0


def tcp_call(port, line="ping", timeout=5):
    """The echo's answer, or "" if the connection was refused or closed on the way."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.sendall(line.encode() + b"\n")
            return connection.makefile("rb").readline().decode().strip()
    except (ConnectionError, socket.timeout):
        return ""


class Lab:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.agents, self.processes, self.services = [], [], []

    def process(self, name, arguments, env=None):
        log = self.folder / f"{len(self.processes):02}-{name.replace(' ', '-')}.log"
        process = Process(name, arguments, log, env)
        self.processes.append(process)
        return process

    def agent(self, datacenter, **options):
        return Agent(self, datacenter, **options)

    def consul(self, datacenter, **options):
        return Consul(self, datacenter, **options)

    def http_service(self, name):
        self.services.append(HttpService(name))
        return self.services[-1]

    def echo_service(self, name, **options):
        self.services.append(EchoService(name, **options))
        return self.services[-1]

    def close(self):
        faults = []
        for process in reversed(self.processes):
            agent = process.running() and any(agent.process is process and not isinstance(agent, Consul)
                                              for agent in self.agents)
            code = process.stop()
            if agent and code != 0:
                faults.append(f"{process.name} left with {code}")
        for service in self.services:
            service.stop()
        faults += [f"a sanitizer reports on {process.name}" for process in self.processes
                   if SANITIZER.search(process.text())]
        faults += [f"{process.name} has rejected configuration" for process in self.processes
                   if REJECTED.search(process.text())]
        if faults:
            self.show_logs()
            raise AssertionError(f"{'; '.join(faults)}: see the logs above")

    def show_logs(self):
        for process in self.processes:
            print(f"\n===== {process.name} ({process.log.name}), exit {process.popen.poll()}")
            print(process.text()[-6000:])


# ---- common set-ups ----

def add_gateway(agent, name="mesh-gateway"):
    port = free_port()
    gateway = Envoy(agent, f"{name} {agent.datacenter}", [
        "-gateway=mesh", "-register", f"-service={name}", f"-address=127.0.0.1:{port}",
        f"-wan-address=127.0.0.1:{port}"])
    gateway.port = port
    return gateway


def add_service(agent, name, port, upstreams=(), instance=None):
    """Registers a service with a sidecar and starts the sidecar's Envoy."""
    instance = instance or name
    definition = {
        "Name": name, "ID": instance, "Port": port, "Address": "127.0.0.1",
        "Connect": {"SidecarService": {"Port": free_port(), "Proxy": {"Upstreams": list(upstreams)}}}}
    agent.register(definition)
    sidecar = Envoy(agent, f"{instance} sidecar", [f"-sidecar-for={instance}"])
    sidecar.definition = definition
    return sidecar


def peer(acceptor, dialer, acceptor_calls_it, dialer_calls_it):
    token = acceptor.api("POST", "/v1/peering/token", {"PeerName": acceptor_calls_it}).json()["PeeringToken"]
    dialer.api("POST", "/v1/peering/establish", {"PeerName": dialer_calls_it, "PeeringToken": token})
    wait_for(lambda: dialer.get(f"/v1/peering/{dialer_calls_it}")["State"] == "ACTIVE", "the dialer to be ACTIVE")
    wait_for(lambda: acceptor.get(f"/v1/peering/{acceptor_calls_it}")["State"] == "ACTIVE", "the acceptor to be ACTIVE")
    return token


def export(agent, services, peers):
    """Each service to each of the peers."""
    agent.config_entry({"Kind": "exported-services", "Name": "default", "Services": [
        {"Name": name, "Consumers": [{"Peer": peer_name} for peer_name in peers]} for name in services]})


def intend(agent, destination, source, peer_name=None, action="allow"):
    source = {"Name": source, "Action": action}
    if peer_name:
        source["Peer"] = peer_name
    agent.config_entry({"Kind": "service-intentions", "Name": destination, "Sources": [source]})
