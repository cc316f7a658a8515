"""What a person sees while a run works: step, stage, live score, time left.

A bar on a terminal; elsewhere (a log file, CI) plain lines at intervals, the first and the last of a stage always.
"""

from __future__ import annotations

import math
import os
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from labelwright.plain_text import printable

# Metrics a person wants to see move; anything else goes to tracking only.
_LIVE = ("dev_accuracy", "accuracy", "dev", "reward", "loss")


class Display:
    """Progress on one console. Safe to call from several threads.

    Parameters
    ----------
    every_s : float
        Seconds between two plain lines where the console is not a terminal.
    """

    def __init__(self, console: Console | None = None, every_s: float = 10.0) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        if not self.console.is_terminal and "COLUMNS" not in os.environ:
            self.console.width = 120  # a file has no width; tables need one
        self._every_s = every_s
        self._lock = threading.Lock()
        self._bar: Progress | None = None
        self._name = ""
        self._live = ""

    def say(self, line: str) -> None:
        """Print one line above the bar, or several; what would drive the terminal is spelt out."""
        self.console.print(printable(line, keep="\n"), markup=False)

    @contextmanager
    def step(self, name: str, number: int = 0, of: int = 0) -> Iterator[None]:
        """Show a step while its body runs; the line at its end names the time it took."""
        title = f"[{number}/{of}] {name}" if of else name
        self._name, self._live, begun = title, "", time.monotonic()
        self._printed, self._first_done, self._last_done = -math.inf, None, -1
        if self.console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[live]}", markup=False),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}", markup=False),
            )
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._task = self._bar.add_task(title, total=None, live="", left="")
            self._bar.start()
        else:
            self.say(f"{title} …")
        ended = "stopped after"
        try:
            yield
            ended = "done in"
        finally:
            if self._bar is not None:
                self._bar.stop()
                self._bar = None
            live = f", {self._live}" if self._live else ""
            self.say(f"{title}: {ended} {duration(time.monotonic() - begun)}{live}")

    def progress(self, done: int, total: int, message: str = "") -> None:
        """How far the step is."""
        with self._lock:
            now = time.monotonic()
            if self._first_done is None:
                # A resumed stage begins part-way: its rate counts from there, not from zero.
                self._first_done, self._first_at = done, now
            self._live = printable(message) or self._live
            left = self._left(done, total, now)
            if self._bar is not None:
                self._bar.update(self._task, completed=done, total=total, live=self._live, left=left)
            elif now - self._printed >= self._every_s or done >= total > self._last_done:
                self._printed = now
                self._last_done = done
                self.say("  " + ", ".join(part for part in (f"{self._name} {done}/{total}", self._live, left) if part))

    def metrics(self, values: Mapping[str, float]) -> None:
        """Keep the first metric of interest as the live score, until a stage names its own."""
        for name in _LIVE:
            if name in values and not self._live:
                with self._lock:
                    self._live = f"{name} {values[name]:.3g}"
                return

    def _left(self, done: int, total: int, now: float) -> str:
        first = self._first_done or 0
        if done <= first or now - self._first_at < 1 or done >= total:
            return ""
        return f"{duration((now - self._first_at) / (done - first) * (total - done))} left"

    _first_done: int | None = None
    _first_at = 0.0
    _printed = -math.inf
    _last_done = -1


def silence_libraries() -> None:
    """Keep other libraries' bars and notices from writing over the display; their errors still show."""
    # litellm, which DSPy and MLflow import, would fetch a price list. Without a network it complains from two threads
    # at once, and under MLflow's import hooks the two wait for each other for ever.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    # What a library plans for its next version is no news to who tunes a classifier.
    warnings.filterwarnings("ignore", category=FutureWarning)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(4.2), duration(75), duration(3700)
    ('4.2 s', '1 min 15 s', '1 h 1 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
