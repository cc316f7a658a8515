"""Commands that write answers, run in turns and looked at meanwhile: what a row of each costs on a machine with others.

A command is watched with all that it starts, from when some of its answers are there until nearly all are, and what it
took meanwhile is held against the rows that it wrote. A neighbour that shares a core makes the same work take
half as much again, for some seconds or minutes. So all commands are begun, take turns of a second, and whoever's turn
it is not is stopped (SIGSTOP) with all that it started: each has the machine to itself when it runs, and what
neighbours do meets all alike.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, NamedTuple

from labelwright.errors import LabelwrightError

if TYPE_CHECKING:
    import psutil

_LOOKED_EVERY_S = 0.1
TURN_S = 1.0
# Shares of its answers between which a command is watched. Ray starts actors of its own when the first rows come; they
# import its libraries for half a second each, and are still at it where a tenth of 100,000 rows is answered.
BEGUN, NEARLY_DONE = 0.15, 0.95
# Files of answers by their ends: of a shard, of all; and of all while they are not yet whole.
_ANSWERS = (".jsonl", ".unfinished")


class Look(NamedTuple):
    """What a command had taken and written at a time."""

    processor_s: float
    n_bytes: int


def watched(commands: Mapping[str, Sequence[str]], folders: Mapping[str, Path]) -> dict[str, list[Look]]:
    """Run commands that write their answers into a folder each, in turns, and look at each until it is over.

    Each is run alone until its first answers are there, then they take turns of ``TURN_S``. What they start counts,
    processes that nobody waits for included.

    Raises
    ------
    LabelwrightError
        A command failed.
    """
    looks: dict[str, list[Look]] = {name: [] for name in commands}
    with ExitStack() as ends:
        at_work: dict[str, _Watched] = {}
        for name, command in commands.items():
            at_work[name] = one = ends.enter_context(_started(command, folders[name]))
            while not one.is_over() and not _size(folders[name]):
                time.sleep(_LOOKED_EVERY_S)
            one.stop()
        while at_work:
            for name, one in list(at_work.items()):
                one.go_on()
                looks[name] += one.looks_for(TURN_S)
                if one.is_over():
                    del at_work[name]
                else:
                    one.stop()
    return looks


class _Watched:
    """A command at work, with all that it started."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[str], folder: Path) -> None:
        import psutil

        self._process, self._said, self._folder = process, said, folder
        self._root = psutil.Process(process.pid)
        self._stopped: list[psutil.Process] = []
        self._taken: dict[tuple[int, float], float] = {}

    def is_over(self) -> bool:
        """Whether it has ended; raises LabelwrightError where it failed."""
        if (code := self._process.poll()) is None:
            return False
        if code:
            self._said.seek(0)
            lines = self._said.read().strip().splitlines() or [f"a command ended with {code}"]
            raise LabelwrightError(lines[-1])
        return True

    def looks_for(self, seconds: float) -> list[Look]:
        """Looks from now on, until so much time is over or the command is."""
        until = time.monotonic() + seconds
        looks = [self._look()]
        while time.monotonic() < until and self._process.poll() is None:
            time.sleep(_LOOKED_EVERY_S)
            looks.append(self._look())
        return looks

    def stop(self) -> None:
        """Stop it where it is, those included that it starts meanwhile."""
        import psutil

        while others := [one for one in self._all() if one not in self._stopped]:
            for one in others:
                with suppress(psutil.Error):
                    one.suspend()
            self._stopped += others

    def go_on(self) -> None:
        """Let it go on, its own process last: what it waits for is at work by then."""
        import psutil

        for one in reversed(self._stopped):
            with suppress(psutil.Error):
                one.resume()
        self._stopped = []

    def end(self) -> None:
        """End it, where it has not ended."""
        self.go_on()
        self._process.terminate()
        self._process.wait()

    def _all(self) -> list[psutil.Process]:
        import psutil

        with suppress(psutil.Error):
            return [self._root, *self._root.children(recursive=True)]
        return []

    def _look(self) -> Look:
        import psutil

        for one in self._all():
            with suppress(psutil.Error):
                times = one.cpu_times()
                self._taken[one.pid, one.create_time()] = times.user + times.system
        return Look(sum(self._taken.values()), _size(self._folder))


@contextmanager
def _started(command: Sequence[str], folder: Path) -> Iterator[_Watched]:
    with TemporaryFile("w+", encoding="utf-8") as said:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        one = _Watched(process, said, folder)
        try:
            yield one
        finally:
            one.end()


def of_all_rows(looks: Sequence[Look], whole: int) -> float:
    """Processor seconds that all rows would take, by what was taken from ``BEGUN`` to ``NEARLY_DONE``.

    Parameters
    ----------
    whole : int
        Bytes of all answers.

    Raises
    ------
    LabelwrightError
        The command was too fast to be looked at.
    """
    at_work = [one for one in looks if BEGUN * whole <= one.n_bytes <= NEARLY_DONE * whole]
    if len(at_work) < 2 or at_work[-1].n_bytes == at_work[0].n_bytes:
        raise LabelwrightError("a command was over before it was looked at twice; take more rows")
    begin, end = at_work[0], at_work[-1]
    return (end.processor_s - begin.processor_s) * whole / (end.n_bytes - begin.n_bytes)


def beside_rows(looks: Sequence[Look], whole: int) -> float:
    """Processor seconds that a command took in all, but for its rows: to start, and to end."""
    return looks[-1].processor_s - of_all_rows(looks, whole)


def _size(folder: Path) -> int:
    """Bytes of answers in a folder and below, written in part or whole; what is counted beside them is no answer."""
    n_bytes = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            n_bytes += path.stat().st_size if path.suffix in _ANSWERS else 0
    return n_bytes
