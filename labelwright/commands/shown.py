"""What a command says beside its answers: rows left unanswered, progress, remarks; and an answer for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labelwright import console
from labelwright.plain_text import printable, printable_line

if TYPE_CHECKING:
    from labelwright.engines.protocol import Engine

_SHOWN_LABELS = 5
_SHOWN_FAULTS = 10
_BAR_WIDTH = 24
_PROGRESS_EVERY_S = 1.0


class Faults:
    """Counts the rows that were left unanswered, and says why on stderr: the first ones each, the others in all."""

    def __init__(self) -> None:
        self.n_rows = self.n_faults = self.n_abstained = 0

    def told(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The same rows."""
        for row in rows:
            self.n_rows += 1
            self.n_abstained += "abstained" in row
            if "error" in row:
                self.n_faults += 1
                if self.n_faults <= _SHOWN_FAULTS:
                    print("\r" + printable_line(f"labelwright: {row['error']}"), file=sys.stderr)
            yield row

    def count(self, n_rows: int, n_faults: int, n_abstained: int, errors: Sequence[str]) -> None:
        """The same of rows that are answered elsewhere; ``errors`` are those of the first ones without an answer."""
        for error in errors[: max(_SHOWN_FAULTS - self.n_faults, 0)]:
            print("\r" + printable_line(f"labelwright: {error}"), file=sys.stderr)
        self.n_rows += n_rows
        self.n_faults += n_faults
        self.n_abstained += n_abstained

    @property
    def status(self) -> int:
        """The command's exit status: to abstain is an answer."""
        if self.n_abstained:
            print(
                f"{self.n_abstained} of {self.n_rows} rows are abstained on (label null, the reason under abstained)",
                file=sys.stderr,
            )
        if not self.n_faults:
            return console.DONE
        print(
            f"labelwright: {self.n_faults} of {self.n_rows} rows are left unanswered, as named above and in the output "
            f"(label null, the reason under error)",
            file=sys.stderr,
        )
        return console.FOUND_SOMETHING


def with_progress(rows: Iterator[Any]) -> Iterator[Any]:
    """The same rows; how many have passed is written to stderr, once a second at most."""
    progress = Progress()
    for row in rows:
        yield row
        progress.add(1)
    progress.end()


class Progress:
    """How many rows are answered, and how fast, on stderr; once a second at most."""

    def __init__(self) -> None:
        self.n_rows = 0
        self._started = self._told = time.monotonic()

    def add(self, n_rows: int) -> None:
        """So many more."""
        self.n_rows += n_rows
        if (now := time.monotonic()) - self._told >= _PROGRESS_EVERY_S:
            self._told = now
            rate = self.n_rows / (now - self._started)
            print(f"\r{self.n_rows} rows, {rate:.0f} rows/s", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """All of them."""
        print(f"\r{self.n_rows} rows in {time.monotonic() - self._started:.1f} s".ljust(40), file=sys.stderr)


def remarks(engine: Engine, n_silent: int = 0) -> None:
    """What a reader of the answers must know about them, on stderr; ``n_silent`` rows have none."""
    from labelwright.engines.protocol import has_probabilities

    told_of_engine(engine.name, engine.n_shortened, has_probabilities(engine))
    if n_silent:
        noun = "row has" if n_silent == 1 else "rows have"
        print(f"{n_silent} {noun} no answer: what {engine.name} said is none of the labels", file=sys.stderr)


def told_of_engine(name: str, n_shortened: int, has_probabilities: bool) -> None:
    """The same of an engine that is elsewhere."""
    if n_shortened:
        print(f"{n_shortened} rows were shortened to fit the context of {name}", file=sys.stderr)
    if not has_probabilities:
        print(f"probabilities are not available from {name}: each answer is all or nothing", file=sys.stderr)


def _bars(probabilities: Mapping[str, float]) -> list[str]:
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])[:_SHOWN_LABELS]
    width = max(len(printable(name)) for name, _ in ranked)
    return [f"  {printable(name):{width}}  {p:.3f}  {'#' * round(_BAR_WIDTH * p)}".rstrip() for name, p in ranked]


def picture(row: Mapping[str, Any]) -> str:
    """A text and its most probable labels, with bars; and what is said beside the label."""
    return "\n".join([printable(row["text"]), *told(row)])


def told(row: Mapping[str, Any]) -> list[str]:
    """The same without the text, in lines."""
    if "error" in row:
        return [f"  (no answer: {printable_line(row['error'])})"]
    if isinstance(row["confidence"], dict):
        lines = []
        for name in row["label"]:
            of_question = {key: row[key][name] for key in row if isinstance(row[key], dict) and name in row[key]}
            first, *bars = _of_one(of_question)
            lines += [f"  {printable(name)}: {first.strip()}", *(f"  {line}" for line in bars)]
        return lines
    lines = _of_one(row) if "abstained" in row or isinstance(row["label"], list) else _bars(row["probabilities"])
    if "label_set" in row:
        lines.append(f"  (the set: {', '.join(map(printable, row['label_set']))})")
    return lines


def _of_one(row: Mapping[str, Any]) -> list[str]:
    """What one question is answered, or would be, and the bars below."""
    label = row["suggested"] if "abstained" in row else row["label"]
    words = (", ".join(label) or "none") if isinstance(label, list) else str(label)
    known = f"; at least {printable(row['at_least'])}" if "at_least" in row else ""
    why = f"(no label: {row.get('abstained')}{known}; it would be {printable(words)})"
    return [f"  {why if 'abstained' in row else printable(words)}", *_bars(row["probabilities"])]
