"""What every request passes on its way in and out, whatever its wire.

In: an id, whether the server has room, the key, the size of the body as it is read, the time it may take. Out: the id,
one line of log, the counts; and whatever was raised on the way becomes an answer in the wire's own shape, so that no
request sees a stack trace. A client that goes away takes its rows with it: while a request is being answered, the gate
listens for the end of its connection and cancels it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labelwright.errors import DataError, ModelError, QueueFullError
from labelwright.serve.bodies import json_answer
from labelwright.serve.keys import Keys
from labelwright.serve.metrics import Metrics
from labelwright.serve.service import Record, RefusalError, Service

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# No answer was sent, for nobody was there to read it; so nginx has it in its logs.
_GONE = 499
_RETRY_AFTER_S = 1
# Asked by what watches over the server, which has no key.
OPEN_PATHS = frozenset({"/health", "/ready"})

Refused = Callable[[RefusalError], tuple[int, dict[str, Any]]]


class Gate:
    """ASGI middleware around the whole application.

    Parameters
    ----------
    app : ASGI application
    service : Service
    metrics : Metrics
    keys : Keys
    wires : mapping of str to (str, callable)
        A route's path to its wire's name and how it puts refusals.
    refused : callable
        The same for paths of no wire.
    hosts : frozenset of str
        What the Host header may name; empty for anything. A page whose name was made to lead to this machine (DNS
        rebinding) names itself there.
    log : text file, optional
        Where a line of JSON for each request goes.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        metrics: Metrics,
        keys: Keys,
        wires: Mapping[str, tuple[str, Refused]],
        refused: Refused,
        hosts: frozenset[str] = frozenset(),
        log: TextIO | None = None,
    ) -> None:
        self._app = app
        self._service = service
        self._metrics = metrics
        self._keys = keys
        self._wires = wires
        self._refused = refused
        self._hosts = hosts
        self._log = log
        self._n_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get(b"x-request-id", "")
        record = Record(given if _ID.fullmatch(given) else uuid.uuid4().hex, scope["method"])
        record.path = self._route(scope["path"])
        record.wire, refused = self._wires.get(record.path, ("", self._refused))
        scope["labelwright"] = record
        connection = _Connection(receive, send, record, self._service.limits.body_bytes)
        self._n_requests += 1
        try:
            await self._answer(scope, headers, connection)
        except RefusalError as refusal:
            await self._refuse(refusal, refused, connection)
        except TimeoutError:
            await self._refuse(_busy("the answer took too long; ask for less at a time"), refused, connection)
        except (QueueFullError, ModelError) as error:
            await self._refuse(_busy(str(error)), refused, connection)
        except DataError as error:
            await self._refuse(RefusalError(422, "invalid_request", str(error)), refused, connection)
        except (asyncio.CancelledError, ClientDisconnect):
            if not connection.is_gone:
                raise
            record.status = _GONE
        except Exception as error:
            # What it says may quote a row.
            record.error = type(error).__name__
            await self._refuse(RefusalError(500, "internal_error", "the server failed"), refused, connection)
        finally:
            self._n_requests -= 1
            connection.end()
            self._tell(record)

    def _route(self, path: str) -> str:
        """The path of the route that a path belongs to, as it was declared; "" where there is none."""
        if path in self._wires:
            return path
        open_ended = (route for route in self._wires if "{" in route and path.startswith(route.partition("{")[0]))
        return next(open_ended, "")

    async def _answer(self, scope: Scope, headers: Mapping[bytes, str], connection: _Connection) -> None:
        self._admit(scope["path"], headers)
        connection.require_length(headers.get(b"content-length", ""))
        try:
            async with asyncio.timeout(self._service.limits.seconds):
                await self._app(scope, connection.receive, connection.send)
        except asyncio.CancelledError:
            if connection.is_gone and (task := asyncio.current_task()) is not None:
                task.uncancel()
            raise

    def _admit(self, path: str, headers: Mapping[bytes, str]) -> None:
        """Raise RefusalError where a request may not come in."""
        if self._hosts and _host(headers.get(b"host", "")) not in self._hosts:
            raise RefusalError(
                403, "forbidden", "the Host header names another host than this server; use the url it printed"
            )
        if path in OPEN_PATHS:
            return
        if self._keys and not self._keys.accept(headers.get(b"authorization", "")):
            given = "the API key is none of this server's" if b"authorization" in headers else "there is no API key"
            raise RefusalError(401, "authentication_error", f"{given}: send Authorization: Bearer KEY")
        if self._n_requests > self._service.limits.requests:
            raise _busy(f"{self._service.limits.requests} requests are being answered already")

    async def _refuse(self, refusal: RefusalError, refused: Refused, connection: _Connection) -> None:
        if connection.has_answered:
            return
        status, body = refused(refusal)
        answer = json_answer(body, status)
        if refusal.retry_after_s is not None:
            answer.headers["retry-after"] = str(refusal.retry_after_s)
        if status == 401:
            answer.headers["www-authenticate"] = "Bearer"
        if not connection.is_read:
            # What is left of the body is nobody's request.
            answer.headers["connection"] = "close"
        await answer({"type": "http"}, connection.receive, connection.send)

    def _tell(self, record: Record) -> None:
        seconds = time.perf_counter() - record.started
        self._metrics.count(record, seconds)
        if self._log is None:
            return
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "id": record.id,
            "method": record.method,
            "path": record.path,
            "status": record.status,
            "ms": round(1000 * seconds, 2),
            "wire": record.wire,
            "model": record.model,
            "rows": record.n_rows,
            "bytes": record.n_bytes,
        }
        if record.error:
            line["error"] = record.error
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()


class _Connection:
    """A request's two ends: what is read is counted, and when all is read, the end of the connection is waited for."""

    def __init__(self, receive: Receive, send: Send, record: Record, most_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._record = record
        self._most_bytes = most_bytes
        self._watcher: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self.has_answered = False
        self.is_read = False

    @property
    def is_gone(self) -> bool:
        """Whether the client went away before it was answered."""
        return self._gone.is_set()

    def require_length(self, declared: str) -> None:
        """Refuse a body by the length that is said of it. Raises RefusalError."""
        if declared.isdecimal():
            self.is_read = int(declared[:20]) == 0
            self._hold(int(declared[:20]))

    async def receive(self) -> Message:
        """The next part of the request."""
        if self._watcher is not None:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone.set()
            return message
        self._record.n_bytes += len(message.get("body", b""))
        self._hold(self._record.n_bytes)
        if not message.get("more_body"):
            self.is_read = True
            self._watcher = asyncio.create_task(self._watch(asyncio.current_task()))
        return message

    async def send(self, message: Message) -> None:
        """The next part of the answer."""
        if message["type"] == "http.response.start":
            self.has_answered = True
            self._record.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self._record.id.encode())]
        await self._send(message)

    def end(self) -> None:
        """Nothing more is waited for."""
        if self._watcher is not None:
            self._watcher.cancel()

    def _hold(self, n_bytes: int) -> None:
        if n_bytes > self._most_bytes:
            raise RefusalError(
                413, "too_large", f"the body has {n_bytes} bytes or more, at most {self._most_bytes} are read"
            )

    async def _watch(self, request: asyncio.Task[Any] | None) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
        if request is not None and not self.has_answered:
            request.cancel()


def _busy(message: str) -> RefusalError:
    return RefusalError(503, "busy", f"{message}; come again later", retry_after_s=_RETRY_AFTER_S)


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    return header.rpartition("]")[0].strip("[") if header.startswith("[") else header.partition(":")[0].lower()
