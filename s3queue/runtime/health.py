"""A worker's health by HTTP: ``/healthz``, ``/readyz``, and ``/metrics`` for Prometheus.

Whoever can reach the port can read this: no message, no payload, no credential is told.
"""

from __future__ import annotations

import json
import logging
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from s3queue.errors import InvalidSetting
from s3queue.runtime.monitor import Monitor, Verdict

_PATIENCE_S = 10.0
_POLL_S = 0.25

log = logging.getLogger("s3queue")


class HealthServer:
    """Answers in threads of its own from the moment it is made until :meth:`stop`.

    ``port`` 0: any that is free, then told by ``port``. Raises InvalidSetting if the address cannot be listened on.
    """

    def __init__(self, host: str, port: int, monitor: Monitor) -> None:
        try:
            self._server = _Server(host, port, monitor)
        except (OSError, UnicodeError, TypeError) as error:  # the last for a name that no encoding of names can hold
            raise InvalidSetting(
                f"The health port {port} of {host!r} cannot be listened on: {getattr(error, 'strerror', None) or error}.",
                remedy="Use another --health-port and --health-host, or port 0 for any that is free.",
            ) from error
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="s3queue-health", daemon=True
        )
        self._thread.start()
        log.info("health on http://%s:%d/", f"[{host}]" if ":" in host else host, self.port)

    def stop(self) -> None:
        """Stop answering, and give back the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_PATIENCE_S)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, monitor: Monitor) -> None:
        self.monitor = monitor
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Request)

    def server_bind(self) -> None:
        """Bind without asking the name service for this machine's name, as HTTPServer does: that may take seconds."""
        socketserver.TCPServer.server_bind(self)

    def service_actions(self) -> None:
        """Look whether the store answers, now and then, whatever the other threads wait for."""
        self.monitor.sample()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the face of a hook
        """Log it as a detail: a client that hangs up is no trouble of the worker's."""
        log.debug("the health server could not answer %s: %s", client_address, sys.exc_info()[1])


class _Request(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "s3queue", ""
    timeout = _PATIENCE_S

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._tell(self.server.monitor.alive(), "alive")
        elif path == "/readyz":
            self._tell(self.server.monitor.ready(), "ready")
        elif path == "/metrics":
            self._metrics()
        else:
            self._send(404, "text/plain; charset=utf-8", b"There are /healthz, /readyz and /metrics.\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _tell(self, verdict: Verdict, name: str) -> None:
        told = {name: verdict.ok, "reason": verdict.reason, **verdict.facts}
        self._send(200 if verdict.ok else 503, "application/json", json.dumps(told).encode() + b"\n")

    def _metrics(self) -> None:
        from s3queue.prometheus import expose

        try:
            kind, body = expose(self.server.monitor.snapshot(), self.headers.get("Accept", ""))
        except InvalidSetting as error:  # the extra is not installed
            self._send(501, "text/plain; charset=utf-8", f"{error}\n".encode())
        else:
            self._send(200, kind, body)

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the face of a hook
        """Log requests as details, not to stderr."""
        log.debug("health: %s", format % args)
