#!/usr/bin/env python3
"""The demo's services: `demo_service.py http HOST PORT NAME` answers HTTP requests, `echo` answers lines of TCP."""
import http.server
import socketserver
import sys

kind, host, port, name = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"hello from {name}, you asked for {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(f"{name} heard: ".encode() + line)


class EchoServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


server = http.server.ThreadingHTTPServer((host, port), Http) if kind == "http" else EchoServer((host, port), Echo)
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass
