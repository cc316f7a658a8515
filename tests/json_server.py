"""A real HTTP server on 127.0.0.1, or at a Unix socket, that answers JSON with JSON, for fakes that say what."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# From a path, what the request says who it is by, and its body ({} of a GET) to a status and an answer.
Answer = Callable[[str, str, dict[str, Any]], tuple[int, dict[str, Any]]]


class _AtSocket(ThreadingHTTPServer):
    """At a path; nobody has an address there."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)

    def get_request(self) -> tuple[Any, Any]:
        request, _ = super().get_request()
        return request, ("", 0)


@contextmanager
def serving_json(answer: Answer, path: Path | None = None) -> Iterator[str]:
    """The server's base URL, for as long as the block lasts; it listens at a Unix socket where a path is given."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self, body: dict[str, Any]) -> None:
            status, said = answer(self.path, self.headers.get("Authorization", ""), body)
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: Any) -> None:
            pass

    at: Any = str(path)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler) if path is None else _AtSocket(at, Handler)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1" if path is None else "http://localhost/v1"
    finally:
        http.shutdown()
        http.server_close()
