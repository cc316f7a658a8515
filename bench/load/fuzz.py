"""`python -m bench.load.fuzz`: requests that schemathesis makes of the server's OpenAPI document; does any get a 5xx?

Schemathesis is asked for in a process of its own and is no part of the project's environment: it brings a plugin that
every run of pytest would load. It stops after so many minutes, or with Ctrl-C; what it found is printed either way.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load.server import serving
from bench.load.soak import NGRAMS
from labelwright.errors import LabelwrightError, MissingExtraError

PACKAGE = "schemathesis"
CHECK = "not_a_server_error"
# What it may take to stop, beside its own budget.
_STOP_S = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where no request got a 5xx, 1 where one did or nothing was asked, 2 where it cannot be tried."""
    parser = argparse.ArgumentParser(prog="python -m bench.load.fuzz", description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path, default=NGRAMS, help="(default: a small one on n-grams)")
    parser.add_argument("--minutes", type=float, default=10.0, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is asked (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        if importlib.util.find_spec(PACKAGE) is None:
            raise MissingExtraError(
                f"{PACKAGE} is not installed: .venv/bin/pip install -c constraints.txt {PACKAGE} (then try again)"
            )
        with tempfile.TemporaryFile("w+") as log:
            with serving([given.bundle], log=log) as (url, process):
                seconds = _fuzz(url, given.minutes, given.seed)
                lives = process.poll() is None
            log.seek(0)
            found = Found.of(log, lives)
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(found.report(seconds), flush=True)
    return 1 if found.problems else 0


@dataclass
class Found:
    """What the server's own log says of the requests that it got; every one is a line.

    Attributes
    ----------
    statuses : Counter
        Of the answers.
    others : list of str
        Lines that are of no request: what the HTTP library says of what is none, or a stack trace.
    lives : bool
        Whether the server still ran at the end.
    """

    statuses: Counter[int]
    others: list[str]
    lives: bool

    @classmethod
    def of(cls, log: Iterable[str], lives: bool) -> Found:
        """Read a log."""
        statuses: Counter[int] = Counter()
        others = []
        for line in log:
            try:
                statuses[int(json.loads(line)["status"])] += 1
            except (ValueError, LookupError, TypeError):
                others.append(line.rstrip())
        return cls(statuses, others, lives)

    @property
    def problems(self) -> list[str]:
        """What was wrong, a line each. 503 is how a server says that it is busy, and no fault."""
        counted = sorted(self.statuses.items())
        found = [f"{count} answers of status {one}" for one, count in counted if one >= 500 and one != 503]
        found += ["a stack trace in the log"] if any("Traceback" in line for line in self.others) else []
        found += [] if self.lives else ["the server ended"]
        return found + ([] if self.statuses else ["nothing was asked"])

    def report(self, seconds: float) -> str:
        """What came of it, in lines."""
        counted = ", ".join(f"{one}: {count}" for one, count in sorted(self.statuses.items()))
        lines = [f"requests {self.statuses.total()} in {seconds:.0f} s", f"statuses {counted}"]
        lines += [f"besides  {line[:200]}" for line in self.others[:5]]
        return "\n".join([*lines, f"verdict  {'; '.join(self.problems) or 'no request got a 5xx'}"])


def _fuzz(url: str, minutes: float, seed: int) -> float:
    """Let schemathesis ask; the seconds that it took. What it says itself stands above, its own failures as well."""
    budget = max(1, round(60 * minutes))
    options = ["--checks", CHECK, "--max-time", str(budget), "--seed", str(seed), "--continue-on-failure"]
    options += ["--workers", "2", "--request-timeout", "30", "--no-shrink", "--no-color"]
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", *options]
    started = time.monotonic()
    # Ctrl-C reaches both; what was found by then is still said. Where it lies, it leaves a folder of examples.
    with tempfile.TemporaryDirectory() as place:
        process = subprocess.Popen(command, cwd=place)
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            process.wait(budget + _STOP_S)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            process.terminate()
            process.wait(_STOP_S)
        finally:
            signal.signal(signal.SIGTERM, before)
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
