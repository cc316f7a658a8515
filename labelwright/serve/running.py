"""From bundles to a running server, and its signals: SIGTERM and Ctrl-C finish what was accepted, SIGHUP loads anew."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import uvicorn

from labelwright.bundle.files import bundle_identity
from labelwright.bundle.store import load
from labelwright.engines.servers.asking import LOOPBACK
from labelwright.errors import BundleError, LabelwrightError, RecipeError
from labelwright.plain_text import printable_line
from labelwright.serve.application import WIRES, application
from labelwright.serve.keys import VARIABLE, Keys
from labelwright.serve.limits import Limits
from labelwright.serve.served import Opener, Served
from labelwright.serve.service import Service

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._-]+")


def serve(folders: Sequence[Path], opener: Opener, host: str, port: int, limits: Limits) -> int:
    """Serve bundles until a signal ends it; returns the exit status.

    Parameters
    ----------
    folders : sequence of Path
        Bundles; each gets a model id, the first one answers where none is named.
    opener : callable
        From a folder to its bundle and an engine.
    host, port : str, int
        Port 0 takes a free one.

    Raises
    ------
    LabelwrightError
        Bundles that cannot be opened, all of them in one line; a port that is taken.
    """
    keys = Keys.from_environment()
    listening = _bound(host, port)
    try:
        served = _opened(folders, opener, limits)
        try:
            asyncio.run(_run(served, folders, opener, listening, host, limits, keys))
        finally:
            for one in served.values():
                one.close()
    finally:
        listening.close()
    return 0


def model_ids(names: Sequence[str]) -> list[str]:
    """Ids of bundles by their tasks' names, no two alike.

    >>> model_ids(["home owner", "spam", "spam"])
    ['home-owner', 'spam', 'spam-2']
    """
    ids: list[str] = []
    for name in names:
        plain = _NOT_IN_IDS.sub("-", name).strip("-.") or "model"
        number = 1
        while (id := plain if number == 1 else f"{plain}-{number}") in ids:
            number += 1
        ids.append(id)
    return ids


def _opened(folders: Sequence[Path], opener: Opener, limits: Limits) -> dict[str, Served]:
    """Every bundle, or one error for all that cannot be opened; none is opened before all are read."""
    faults: list[str] = []
    names: list[str] = []
    for folder in folders:
        try:
            names.append(load(folder).task.name)
        except LabelwrightError as error:
            faults.append(str(error))
    if len({folder.resolve() for folder in folders}) < len(folders):
        faults.append("the same bundle is named twice: name each once")
    if faults:
        raise BundleError("; ".join(faults))
    served: dict[str, Served] = {}
    for id, folder in zip(model_ids(names), folders, strict=True):
        try:
            served[id] = Served.open(id, folder, opener, limits.waiting_rows)
        except LabelwrightError as error:
            faults.append(str(error))
    if faults:
        for one in served.values():
            one.close()
        raise BundleError("; ".join(faults))
    return served


def _bound(host: str, port: int) -> socket.socket:
    """A socket that has the address and does not listen yet: nobody should wait for a model to load."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, since asyncio sets TCP_NODELAY on no other; without it each answer waits 40 ms.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except (OSError, OverflowError) as error:
        found.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise RecipeError(f"cannot serve on {host}:{port} ({reason}): choose another --port or --host") from error
    return found


async def _run(
    served: Mapping[str, Served],
    folders: Sequence[Path],
    opener: Opener,
    listening: socket.socket,
    host: str,
    limits: Limits,
    keys: Keys,
) -> None:
    # A page whose name was made to lead here names itself as the host.
    hosts = LOOPBACK if host in LOOPBACK and not keys else frozenset()
    app = application(served, limits, keys, hosts=hosts, log=sys.stderr)
    service: Service = app.state.service
    server = _Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="off", timeout_keep_alive=75
        ),
        lambda: _announce(service, listening, host, not keys),
    )
    loop, reloading = asyncio.get_running_loop(), asyncio.Lock()
    tasks: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        async with reloading:
            for id, folder in zip(served, folders, strict=True):
                await _reload(service, id, folder, opener)

    def again() -> None:
        tasks.add(task := asyncio.create_task(reload()))
        task.add_done_callback(tasks.discard)

    def stop() -> None:
        # The second time, what is being answered is given up.
        server.force_exit = server.should_exit
        server.should_exit = service.is_stopping = True

    for name, handler in (("SIGTERM", stop), ("SIGINT", stop), ("SIGHUP", again)):
        if hasattr(signal, name):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(getattr(signal, name), handler)
    await server.serve(sockets=[listening])


def _announce(service: Service, listening: socket.socket, host: str, is_open: bool) -> None:
    """What answers where, a line a model and one for the url; and who is warned."""
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}"
    for id, one in service.served.items():
        print(printable_line(f"{id}: {one.bundle.weights.base}, {len(one.names)} labels"))
    print(f"{url}  {'; '.join(wire.what for wire in WIRES)}; {url}/docs", flush=True)
    if is_open and host not in LOOPBACK:
        _say(
            f"warning: {host} can be reached from other machines, and everybody may ask; set {VARIABLE} to keys that "
            f"clients must send"
        )


def _say(line: str) -> None:
    """A line for who runs the server, beside the log."""
    print(printable_line(line), file=sys.stderr, flush=True)


async def _reload(service: Service, id: str, folder: Path, opener: Opener) -> None:
    """Put a bundle that was exported anew in the old one's place; one that cannot be opened changes nothing."""
    try:
        if bundle_identity(folder) == service.served[id].identity:
            _say(f"{id}: {folder} is as it was")
            return
        new = await asyncio.to_thread(Served.open, id, folder, opener, service.limits.waiting_rows)
    except (LabelwrightError, OSError) as error:
        _say(f"{id}: goes on as it was, {error}")
        return
    service.swap(new)
    _say(f"{id}: {folder} is loaded anew")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, which raise a signal again after it was obeyed.

    Parameters
    ----------
    started : callable
        Called when the first request can come.
    """

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self._tell()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs this."""
        yield
