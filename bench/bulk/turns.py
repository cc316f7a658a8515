"""Commands that write answers, run in turns and looked at meanwhile: what a row of each costs on a machine with others.

The same command takes half as much processor time again on such a machine, for seconds or minutes. So all commands are
begun, and take turns of a second, in an order that goes round; whoever's turn it is not is stopped (SIGSTOP) with all
that it started. Each has the machine to itself when it runs. What counts are the turns in which all of them write
answers: their starts (Python, a model, a cluster) are over by then, and none has come to its end.

What a stopped process has set an alarm for by the clock is due when it goes on: what a command does once a second it
does more often for a second of its own here, which is to the disadvantage of a cluster, the more the shorter turns are.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import psutil

from labelwright.errors import LabelwrightError

TURN_S = 1.0
# Shares of its answers between which a command counts. Ray starts actors of its own when the first rows come; they
# import its libraries for half a second each, and are still at it where a tenth of 100,000 rows is answered.
BEGUN, NEARLY_DONE = 0.15, 0.95
# So long a command may take to its first answers, and all of them to their last ones.
_START_S, _WHOLE_S, _END_S = 300, 3600, 20
_LOOKED_EVERY_S = 0.1
# Files of answers by their ends: of a shard, of all; and of all while they are not yet whole.
_ANSWERS = (".jsonl", ".unfinished")


class Look(NamedTuple):
    """What a command had taken and written at a time."""

    processor_s: float
    n_bytes: int


class Turn(NamedTuple):
    """A command before and after it was at work for a while."""

    before: Look
    after: Look


def watched(commands: Mapping[str, Sequence[str]], folders: Mapping[str, Path]) -> list[dict[str, Turn]]:
    """Run commands that write their answers into a folder each, in turns; the turns, each time that all had one.

    Each is run alone until its first answers are there. What commands start counts, stops and ends with them.

    Raises
    ------
    LabelwrightError
        A command failed, or took too long.
    """
    rounds: list[dict[str, Turn]] = []
    with _ended_in_order(), ExitStack() as ends:
        at_work: dict[str, _Watched] = {}
        for name, command in commands.items():
            at_work[name] = one = ends.enter_context(_started(command, folders[name]))
            until = time.monotonic() + _START_S
            while not one.is_over() and not one.look().n_bytes:
                _refuse_after(until, f"{name} has no answer after {_START_S} s")
                time.sleep(_LOOKED_EVERY_S)
            one.stop()
        until = time.monotonic() + _WHOLE_S
        names = list(commands)
        while at_work:
            _refuse_after(until, f"{', '.join(at_work)}: not over after {_WHOLE_S} s")
            names = [*names[1:], names[0]]
            rounds.append({name: at_work[name].turn() for name in names if name in at_work})
            at_work = {name: one for name, one in at_work.items() if not one.is_over()}
    return rounds


class _Watched:
    """A command at work, with all that it started."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[str], folder: Path) -> None:
        self._process, self._said, self._folder = process, said, folder
        self._root = psutil.Process(process.pid)
        # What was seen of it once stays its own, whoever its parent is by now.
        self._taken: dict[psutil.Process, float] = {self._root: 0.0}
        self._stopped: list[psutil.Process] = []

    def is_over(self) -> bool:
        """Whether it has ended; raises LabelwrightError where it failed."""
        if (code := self._process.poll()) is None:
            return False
        if code:
            self._said.seek(0)
            lines = self._said.read().strip().splitlines() or [f"a command ended with {code}"]
            raise LabelwrightError(lines[-1])
        return True

    def look(self) -> Look:
        """What it has taken and written until now."""
        for one in self._all():
            with suppress(psutil.Error):
                times = one.cpu_times()
                self._taken[one] = times.user + times.system
        return Look(sum(self._taken.values()), _size(self._folder))

    def turn(self) -> Turn:
        """Let it go on for ``TURN_S``, or to its end, and stop it again."""
        before = self.look()
        self.go_on()
        until = time.monotonic() + TURN_S
        while (left := until - time.monotonic()) > 0 and self._process.poll() is None:
            # Looked at on the way: what ends before the turn does is not seen after it.
            self.look()
            time.sleep(min(left, _LOOKED_EVERY_S))
        self.stop()
        return Turn(before, self.look())

    def stop(self) -> None:
        """Stop it where it is, those included that it starts meanwhile."""
        while others := [one for one in self._all() if one not in self._stopped]:
            for one in others:
                # Known first: who is interrupted here has to know whom to let go on.
                self._stopped.append(one)
                with suppress(psutil.Error):
                    one.suspend()

    def go_on(self) -> None:
        """Let it go on, its own process last: what it waits for is at work by then."""
        for one in reversed(self._stopped):
            with suppress(psutil.Error):
                one.resume()
        self._stopped = []

    def end(self) -> None:
        """End it, where it has not ended, and whatever of it is left."""
        left = self._all()
        self.go_on()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        for one in left:
            with suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(left, timeout=_END_S)
        self._process.wait(_END_S)

    def _all(self) -> list[psutil.Process]:
        pids = {one.pid for one in self._taken if one.is_running()}
        others = []
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                others.append((one.ppid(), one))
        while new := [one for parent, one in others if parent in pids and one.pid not in pids]:
            pids.update(one.pid for one in new)
            self._taken.update(dict.fromkeys(new, 0.0))
        return [one for one in self._taken if one.is_running()]


@contextmanager
def _started(command: Sequence[str], folder: Path) -> Iterator[_Watched]:
    with TemporaryFile("w+", encoding="utf-8") as said:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        one = _Watched(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said), said, folder)
        try:
            yield one
        finally:
            one.end()


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Have SIGTERM end this process as an error does, so that nothing stays behind stopped."""

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse_after(until: float, said: str) -> None:
    if time.monotonic() > until:
        raise LabelwrightError(said)


def of_all_rows(
    rounds: Sequence[Mapping[str, Turn]], sizes: Mapping[str, int], begun: float = BEGUN
) -> dict[str, float]:
    """Processor seconds that all rows would take of each command, by the turns in which all wrote answers.

    Parameters
    ----------
    sizes : mapping
        Bytes of all answers, of each command.
    begun : float
        Share of its answers from which on a command counts.

    Raises
    ------
    LabelwrightError
        There are no such turns.
    """
    together = [
        one
        for one in rounds
        if all(
            name in one
            and one[name].before.n_bytes >= begun * sizes[name]
            and one[name].after.n_bytes <= NEARLY_DONE * sizes[name]
            for name in sizes
        )
    ]
    taken = {}
    for name, size in sizes.items():
        if not (n_bytes := sum(one[name].after.n_bytes - one[name].before.n_bytes for one in together)):
            raise LabelwrightError("a command was over before all had their turns; take more rows")
        seconds = sum(one[name].after.processor_s - one[name].before.processor_s for one in together)
        taken[name] = seconds * size / n_bytes
    return taken


def in_all(rounds: Sequence[Mapping[str, Turn]], name: str) -> float:
    """Processor seconds that a command took from its start to its end; of what started and ended unseen nothing."""
    return max(one[name].after.processor_s for one in rounds if name in one)


def _size(folder: Path) -> int:
    """Bytes of answers in a folder and below, written in part or whole; what is counted beside them is no answer."""
    n_bytes = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            n_bytes += path.stat().st_size if path.suffix in _ANSWERS else 0
    return n_bytes
