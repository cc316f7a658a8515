"""`python -m bench.pictures`: accuracy by field on screenshots with known values, and labels of pictures of questions.

Rows are those that `--recipe` deals to dev and calib; the candidate learns from train. Test is not read.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import baselines
from bench.pictures import pages
from bench.pictures.fields import NULL, RIGHT, WRONG, by_field
from bench.pictures.rendering import find_browser, screenshot
from labelwright.data.task import Example, group_keys, texts_and_labels
from labelwright.errors import LabelwrightError
from labelwright.files import write_json
from labelwright.pictures.kept import Reader
from labelwright.pictures.layout import Page
from labelwright.pictures.ocr import Ocr
from labelwright.pictures.typed.extraction import extract
from labelwright.pictures.typed.schema import fields_of
from labelwright.statistics.intervals import mcnemar
from labelwright.statistics.proportions import difference_interval, share_interval
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows, task_of
from workbench.wording import percent


class Timed:
    """Reads images and notes how long each took."""

    def __init__(self, n_threads: int) -> None:
        self._reader = Reader(Ocr(n_threads))
        self.seconds: list[float] = []

    def page(self, image: bytes) -> Page:
        """What is written in an image."""
        begun = time.perf_counter()
        page = self._reader.page(image)
        self.seconds.append(time.perf_counter() - begun)
        return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables; 0, or 2 where the recipe or the browser is at fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.pictures", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pages", type=int, default=30, help="of each kind (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=150, help="rendered and classified (default: %(default)s)")
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--candidate", default="sgd-ngrams", help="trained on train (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of the OCR (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="a folder for the images, and all numbers as numbers.json")
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        numbers = measure(given)
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.out is not None:
        write_json(given.out / "numbers.json", numbers)
    return 0


def measure(given: argparse.Namespace) -> dict[str, object]:
    """Both measurements, printed as they come."""
    recipe = read_recipe(given.recipe)
    rows = read_rows(recipe)
    task, splits = task_of(recipe, rows), make_splits(rows, recipe.splits, recipe.seed)
    chance, ocr, browser = random.Random(given.seed), Timed(given.threads), find_browser()
    estimator = baselines.make(given.candidate, task, recipe.seed).fit(*texts_and_labels(splits.train))
    unseen = [*splits.dev, *splits.calib]
    chance.shuffle(unseen)

    def see(shown: pages.Shown, name: str) -> Page:
        image = screenshot(browser, shown)
        if given.out is not None:
            given.out.mkdir(parents=True, exist_ok=True)
            (given.out / f"{name}.png").write_bytes(image)
        return ocr.page(image)

    def answer(text: str) -> str:
        return str(estimator.predict([text])[0])

    schemas = {"headlines": pages.HEADLINES, "form": pages.form_schema(task.names), "receipt": pages.RECEIPT}
    print("| page | field | n | right %, 95 % interval | null | wrong |\n|---|---|---|---|---|---|")
    numbers: dict[str, object] = {}
    for kind, schema in schemas.items():
        pairs = []
        for number in range(given.pages):
            shown = _page(kind, chance, unseen[number % len(unseen)])
            found = extract(see(shown, f"{kind}-{number}"), fields_of(schema), {"topic": answer})
            pairs.append((found.values, shown.values))
            if given.out is not None:
                told = {"found": found.values, "why": found.reasons, "right": shown.values}
                write_json(given.out / f"{kind}-{number}.json", told)
        numbers[kind] = _counted(kind, pairs)
    _times("pages", ocr.seconds)
    ocr.seconds.clear()
    asked = unseen[: given.questions]
    texts = [see(pages.question(chance, one.text), f"question-{n}").text or " " for n, one in enumerate(asked)]
    numbers["questions"] = _compared(given.candidate, estimator, asked, texts)
    _times("questions", ocr.seconds)
    return numbers


def _counted(kind: str, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, object]:
    """A line a field; pages are what is independent, not the items of one."""
    numbers: dict[str, object] = {}
    for name, counts in by_field(pairs).items():
        n, n_null, n_wrong = len(counts.outcomes), counts.n(NULL), counts.n(WRONG)
        right = share_interval(np.array([outcome == RIGHT for outcome in counts.outcomes]), counts.pages)
        print(f"| {kind} | {name} | {n} | {percent(right)} | {n_null} | {n_wrong} |", flush=True)
        numbers[name] = {"n": n, "null": n_null, "wrong": n_wrong, **right._asdict()}
    return numbers


def _page(kind: str, chance: random.Random, row: Example) -> pages.Shown:
    if kind == "form":
        return pages.form(chance, row.text, row.label)
    return pages.headlines(chance) if kind == "headlines" else pages.receipt(chance)


def _compared(name: str, estimator: Any, asked: Sequence[Example], seen: Sequence[str]) -> dict[str, object]:
    """Accuracy on texts and on pictures of them, and the paired difference."""
    gold, groups = np.array([one.label for one in asked]), group_keys(asked)
    of_texts = estimator.predict([one.text for one in asked]) == gold
    of_pictures = estimator.predict(list(seen)) == gold
    net = of_pictures.astype(int) - of_texts.astype(int)
    exact = np.array([one.text.split() == text.split() for one, text in zip(asked, seen, strict=True)])
    difference = difference_interval(net, groups)
    print(
        f"{name}, {len(asked)} questions, right %: on texts {percent(share_interval(of_texts, groups))}, on pictures "
        f"{percent(share_interval(of_pictures, groups))}, difference {percent(difference)}; McNemar p = "
        f"{mcnemar(int((net == -1).sum()), int((net == 1).sum())):.2f}; every word as written in "
        f"{percent(share_interval(exact, groups))} % of them"
    )
    return {"texts": float(of_texts.mean()), "pictures": float(of_pictures.mean()), **difference._asdict()}


def _times(what: str, seconds: Sequence[float]) -> None:
    if seconds:
        p50, slowest = (1000 * one for one in (median(seconds), max(seconds)))
        print(f"OCR of {len(seconds)} {what}: p50 {p50:.0f} ms, slowest {slowest:.0f} ms")


if __name__ == "__main__":
    sys.exit(main())
