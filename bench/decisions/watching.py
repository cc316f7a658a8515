"""`python -m bench.decisions.watching`: how often `labelwright watch` is wrong, and how soon it is right.

A classifier of n-grams is trained on a part of a file's rows. The others are what comes after shipping: dev rows and
windows are drawn from them with replacement, so that without a shift all are of one population, and every alarm is
false. Then something is shifted, and what is counted is the windows until it is told. Banking77's train rows by
default, and SNIPS' for another domain; test rows are not read.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines import BASELINES
from labelwright.bundle.reference import Counts, Reference, write_reference
from labelwright.data.task import Example, Label, Task, read_examples
from labelwright.errors import LabelwrightError
from labelwright.files import folder_bytes
from labelwright.statistics.proportions import wilson
from labelwright.watch.answers import Answer
from labelwright.watch.audit import Audit, Shadow
from labelwright.watch.drift import Drift
from labelwright.watch.sketch import Sketch, known_words
from labelwright.watch.tally import Tally

SEED = 0
WINDOW, N_DEV = 500, 1000
# Of the file's rows; the others come after shipping.
TRAINED = 0.6
# Windows before the shift, and the most that are looked at behind it.
BEFORE, MOST = 20, 80
RATES = (0.01, 0.001)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables of docs/decide/README.md; 0, or 2 where a file is at fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.decisions.watching", description="How often watch is wrong.")
    data = Path("../shared/data")
    parser.add_argument("--rows", type=Path, default=data / "banking77/train.jsonl", help="(default: %(default)s)")
    parser.add_argument("--others", type=Path, default=data / "snips/train.jsonl", help="another domain's rows")
    parser.add_argument("--windows", type=int, default=20_000, help="unchanged ones, for each rate (default: 20000)")
    parser.add_argument("--repeats", type=int, default=100, help="of each shift (default: 100)")
    given = parser.parse_args(arguments)
    try:
        measure(read_examples(given.rows), read_examples(given.others), given.windows, given.repeats)
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


class Population:
    """Rows with what is counted of each, to draw windows from.

    Attributes
    ----------
    kinds : mapping of str to int array (n_rows,)
        The place of each row's 1 in its counts.
    is_right : bool array (n_rows,)
    """

    def __init__(self, model: Any, names: Sequence[str], sketch: Sketch, rows: Sequence[tuple[str, str]]) -> None:
        probs = model.predict_proba([text for text, _ in rows])
        said, confidence = probs.argmax(axis=1).tolist(), probs.max(axis=1).tolist()
        answers = [Answer(0, names[k], p, text) for k, p, (text, _) in zip(said, confidence, rows, strict=True)]
        one = [sketch.counts([answer]) for answer in answers]
        self.size = {name: len(counts) for name, counts in one[0].items()}
        self.kinds = {name: np.array([int(counts[name].argmax()) for counts in one]) for name in self.size}
        self.is_right = np.array([names[k] == gold for k, (_, gold) in zip(said, rows, strict=True)])
        self.gold = np.array([gold for _, gold in rows])

    def counts(self, rows: NDArray[np.int64]) -> Counts:
        """The counts of the rows at these places."""
        return {name: np.bincount(kinds[rows], minlength=self.size[name]) for name, kinds in self.kinds.items()}


def measure(rows: Sequence[Example], others: Sequence[Example], n_windows: int, n_repeats: int) -> None:
    """Print everything."""
    draw = np.random.default_rng(SEED)
    order = draw.permutation(len(rows)).tolist()
    n_train = round(TRAINED * len(rows))
    train, later = [rows[i] for i in order[:n_train]], [rows[i] for i in order[n_train:]]
    names = sorted({row.label for row in rows})
    task = Task("rows", "Which label?", tuple(map(Label, names)))
    model = BASELINES["sgd-ngrams"](task, SEED).fit([row.text for row in train], [row.label for row in train])
    assert list(model.classes_) == names
    sketch = Sketch(names, known_words((row.text, row.id) for row in train))
    of = partial(Population, model, names, sketch)
    usual = of([(row.text, row.label) for row in later])
    print(
        f"{len(train)} train rows, {len(later)} later ones, {len(names)} labels, accuracy {usual.is_right.mean():.1%}; "
        f"windows of {WINDOW}, {N_DEV} dev rows"
    )
    unchanged(usual, names, n_windows, draw)
    typing = random.Random(SEED)
    foreign = of([(row.text, "") for row in others])
    typed = {share: of([(typos(row.text, share, typing), row.label) for row in later]) for share in (0.02, 0.1)}
    # The shifted rows, their share of a window, and whether the file of answers has texts.
    shifts = {
        "2 % of another domain": (foreign, 0.02, True),
        "10 % of another domain": (foreign, 0.1, True),
        "10 % of another domain, no texts in the file": (foreign, 0.1, False),
        "20 % of another domain, no texts in the file": (foreign, 0.2, False),
        "a typo in a fiftieth of words": (typed[0.02], 1.0, True),
        "a typo in a tenth of words": (typed[0.1], 1.0, True),
        "a typo in a tenth of words, no texts in the file": (typed[0.1], 1.0, False),
    }
    heading("shift", "rate", f"told within {MOST} windows", "median windows until it is told [quartiles]")
    for rate in RATES:
        told(f"one label doubled, of {len(names)}", rate, [doubled(usual, names, rate, draw) for _ in range(n_repeats)])
        for name, (shifted, share, has_texts) in shifts.items():
            windows = [until(usual, shifted, share, names, rate, draw, has_texts) for _ in range(n_repeats)]
            told(name, rate, windows)
    audits(draw, n_repeats)
    shadows(draw, n_repeats)
    costs(names, draw)


def heading(*columns: str) -> None:
    """Print the head of a table."""
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def unchanged(usual: Population, names: Sequence[str], n_windows: int, draw: np.random.Generator) -> None:
    """Print alarms among windows of unchanged rows, each thousand after a dev of its own."""
    heading("--false-alarms", "windows", "alarms", "per 1,000 windows, 95 %", "most in one thousand")
    for rate in RATES:
        alarms = []
        for _ in range(max(1, n_windows // 1000)):
            drift = Drift(usual.counts(_some(usual, N_DEV, draw)), names, rate)
            alarms.append(sum(drift.window(usual.counts(_some(usual, WINDOW, draw))).is_alarm for _ in range(1000)))
        n = 1000 * len(alarms)
        value, low, high = (1000 * one for one in wilson(sum(alarms) / n, n))
        print(f"| {rate:g} | {n} | {sum(alarms)} | {value:.2f} [{low:.2f}, {high:.2f}] | {max(alarms)} |", flush=True)


def until(
    usual: Population,
    shifted: Population,
    share: float,
    names: Sequence[str],
    rate: float,
    draw: np.random.Generator,
    has_texts: bool,
) -> int:
    """Windows until a shift is told, counted from it; ``MOST`` + 1 where it is not."""
    drift = _settled(usual, names, rate, draw, has_texts)
    for number in range(1, MOST + 1):
        n = round(share * WINDOW)
        new, old = shifted.counts(_some(shifted, n, draw)), usual.counts(_some(usual, WINDOW - n, draw))
        if drift.window({name: counts + old[name] for name, counts in new.items()}).is_alarm:
            return number
    return MOST + 1


def doubled(usual: Population, names: Sequence[str], rate: float, draw: np.random.Generator) -> int:
    """The same where rows of one label, another each time, come twice as often."""
    weights = np.where(usual.gold == draw.choice(np.unique(usual.gold)), 2.0, 1.0)
    drift = _settled(usual, names, rate, draw)
    for number in range(1, MOST + 1):
        rows = draw.choice(len(weights), WINDOW, p=weights / weights.sum())
        if drift.window(usual.counts(rows)).is_alarm:
            return number
    return MOST + 1


def told(name: str, rate: float, windows: Sequence[int]) -> None:
    """Print a row of the table."""
    found = np.array(windows)
    share = wilson(float((found <= MOST).mean()), len(found))
    low, median, high = (f"{one:.0f}" if one <= MOST else "more" for one in np.quantile(found, (0.25, 0.5, 0.75)))
    percent = " ".join((f"{share.value:.0%}", f"[{share.low:.0%}, {share.high:.0%}]"))
    print(f"| {name} | {rate:g} | {percent} | {median} [{low}, {high}] |", flush=True)


def audits(draw: np.random.Generator, n_repeats: int, most: int = 5000) -> None:
    """Print how many audited rows it takes to tell a fall of accuracy, and how often one is told that there is not."""
    heading("accuracy, 90 % on dev", f"told apart within {most} rows", "median rows")
    for now in (0.9, 0.87, 0.85, 0.8):
        rows = []
        for _ in range(n_repeats):
            audit = Audit(N_DEV, int(draw.binomial(N_DEV, 0.9)))
            for number, is_right in enumerate((draw.random(most) < now).tolist(), start=1):
                audit.add(is_right, number)
                if audit.told_at is not None:
                    break
            rows.append(audit.told_at or most + 1)
        _told_rows(f"{now:.0%}", rows, most)


def shadows(draw: np.random.Generator, n_repeats: int, most: int = 5000) -> None:
    """Print how many audited rows it takes to tell a challenger apart."""
    heading("challenger alone right, bundle alone right", f"told apart within {most} rows", "median rows")
    for second, first in ((0.05, 0.05), (0.06, 0.04), (0.07, 0.03), (0.08, 0.02)):
        rows = []
        for _ in range(n_repeats):
            shadow = Shadow()
            for number, one in enumerate(draw.random(most).tolist(), start=1):
                ours = "a" if one < first or one >= first + second else "b"
                shadow.add(ours, "a" if one >= first else "b", "a", number)
                if shadow.told_at is not None:
                    break
            rows.append(shadow.told_at or most + 1)
        _told_rows(f"{second:.0%}, {first:.0%}", rows, most)


def costs(names: Sequence[str], draw: np.random.Generator) -> None:
    """Print bytes of a reference, and microseconds a row of a server's counting."""
    print()
    for n_labels in (18, 1000):
        counts = {"labels": draw.integers(0, 9, n_labels + 1), "confidence": np.ones(12, int), "words": np.ones(8, int)}
        with tempfile.TemporaryDirectory() as folder:
            write_reference(Path(folder), Reference(counts, 1, bytes(2048)))
            print(f"reference.json of {n_labels} labels: {folder_bytes(Path(folder))} bytes")
    for n_rows in (1, 32):
        probs = list(draw.dirichlet(np.ones(len(names)), n_rows))
        dev = {"labels": np.full(len(names) + 1, 10), "confidence": np.full(12, (10 * len(names) + 10) // 12)}
        tally = Tally(tuple(names), dev)
        started, n_calls = time.perf_counter(), 20_000 // n_rows
        for _ in range(n_calls):
            tally.add(probs)
        tally.settle()
        spent = 1e6 * (time.perf_counter() - started) / (n_calls * n_rows)
        print(f"a server's counting, {len(names)} labels, {n_rows} rows a request: {spent:.1f} microseconds a row")


def typos(text: str, share: float, draw: random.Random) -> str:
    """The text with two neighbouring letters swapped in a share of its words of three letters or more."""
    words = text.split(" ")
    for place, word in enumerate(words):
        if len(word) > 2 and draw.random() < share:
            at = draw.randrange(len(word) - 1)
            words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


def _settled(
    usual: Population, names: Sequence[str], rate: float, draw: np.random.Generator, has_texts: bool = True
) -> Drift:
    """What has seen some unchanged windows."""
    dev = usual.counts(_some(usual, N_DEV, draw))
    drift = Drift({name: counts for name, counts in dev.items() if has_texts or name != "words"}, names, rate)
    for _ in range(BEFORE):
        drift.window(usual.counts(_some(usual, WINDOW, draw)))
    return drift


def _some(population: Population, n: int, draw: np.random.Generator) -> NDArray[np.int64]:
    return draw.integers(0, len(population.gold), n)


def _told_rows(name: str, rows: Sequence[int], most: int) -> None:
    share = wilson(float(np.mean([one <= most for one in rows])), len(rows))
    median = float(np.median(rows))
    percent = f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"
    print(f"| {name} | {percent} | {f'{median:.0f}' if median <= most else 'more'} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
