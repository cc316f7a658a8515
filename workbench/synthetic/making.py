"""The verb ``synthesize``: rounds of questions, until every label has its rows or no more may be asked.

A round asks for rows of the labels that lack some, drops what cannot be used or is nearly a row that is there, and asks
for the label of the rest, as a closed question that does not say which one it was written for. A row is kept where the
answer agrees. The file is written once, at the end, whole: all answers are on disk by then, and what a command came to
that ended before is no reason to part with the rows that are there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from labelwright.data.asked.asking import asking
from labelwright.data.task import Example, Label, Task
from labelwright.errors import LabelwrightError, RecipeError
from labelwright.files import write_bytes
from labelwright.plain_text import printable_json, printable_line
from programs.asking import Answer, Answers, Ask, LanguageModel, Question, ask_and_read
from workbench.next_rows.choice import text_vectors
from workbench.progress import Display, silence_libraries
from workbench.recipe.beside.near_copies import NearCopies
from workbench.recipe.beside.outside import all_out_of_scope
from workbench.recipe.beside.synthetic import CHECKED_BY, MODEL, SEED, SEED_TEXT, SHOWN, written_to
from workbench.recipe.beside.unlabelled import check_unlabelled, read_unlabelled
from workbench.recipe.recipe import Recipe
from workbench.recipe.rows import make_splits, read_rows, task_of
from workbench.run.folder import RUNS, locked
from workbench.synthetic import wording
from workbench.synthetic.orders import Orders, Vectors
from workbench.synthetic.telling import FOLDER, Made, fate, spent_in_words, tell
from workbench.synthetic.wording import Order
from workbench.wording import plural

ANSWERS = "answers.jsonl"
# A label whose rows are dropped again and again is given up.
_MOST_ROUNDS = 6
# Of more labels than this a person would not be asked at once either: the row's own and those most like it are.
_MOST_ASKED = 40
_N_ALIKE = 20
# Rows of the pool that seed rows are taken from.
_MOST_POOL = 2000


@dataclass(frozen=True)
class Asked:
    """Who is asked, and under which name: one model writes, one checks."""

    write: Ask
    check: Ask
    writer: str
    checker: str


def synthesize(
    recipe: Recipe, force: bool, display: Display, asked: Asked | None = None, vectors: Vectors | None = None
) -> Path:
    """Write the recipe's synthetic rows; returns where they are.

    Parameters
    ----------
    force : bool
        Ask anew what was answered before; those answers are kept beside the new ones.
    asked : Asked, optional
        Who is asked; by default the models that the recipe names.
    vectors : callable, optional
        From texts to their vectors; sentence embeddings by default.

    Raises
    ------
    LabelwrightError
        No model is named; nobody answers; none of what was written can be used.
    """
    table, vectors = recipe.synthetic, vectors or text_vectors
    if asked is None and not table.model:
        raise RecipeError(
            f"{recipe.path}, [synthetic]: no model: expected the name of one that DSPy knows, such as "
            '"openai/gpt-4.1-mini", or that a server has, with url = "http://127.0.0.1:8000/v1" beside it'
        )
    rows = read_rows(recipe)
    task = task_of(recipe, rows)
    if beyond := asking(task).beyond:
        raise RecipeError(f"synthesize needs labels that all rows share, one a row; here {beyond}")
    for remark in check_unlabelled(recipe.data):
        display.say(remark)
    train = make_splits(rows, recipe.splits, recipe.seed).train
    taught = {row.id for row in train}
    measured = [row for row in rows if row.id not in taught]
    measured += chain.from_iterable(all_out_of_scope(recipe.data).values())
    pool = _seeds_of_pool(recipe, train, measured) if recipe.data.unlabelled else []
    silence_libraries()
    folder = RUNS / recipe.name / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        path = folder / ANSWERS
        if force and path.is_file():
            path.rename(_free(folder, "answers"))
        answers = Answers(path, table.max_calls)
        asked = asked or _models(recipe)
        orders = Orders(task.labels, train, pool, table, recipe.seed, vectors)
        making = _Making(recipe, task, asked, answers, orders, train, measured, display)
        try:
            with display.step(f"asking {printable_line(asked.writer)} for rows"):
                making.run()
        finally:
            display.say(f"  {spent_in_words(answers)}")
        made = making.made
        if not made.rows:
            raise LabelwrightError(f"none of {plural(made.n_written, 'written row')} can be used; {fate(made)}")
        place = written_to(recipe.name)
        _write(place, made.rows, folder, display)
        tell(made, answers, recipe, train, vectors, display)
    return place


def _seeds_of_pool(recipe: Recipe, train: Sequence[Example], measured: Sequence[Example]) -> list[str]:
    """Rows of the pool that may be shown: what is written after nearly a measured row is not learnt either."""
    copies = NearCopies((row.text for row in measured), recipe.synthetic.near_copy)
    return [text for text in read_unlabelled(recipe, train, measured).texts[:_MOST_POOL] if copies.find(text) is None]


class _Making:
    """One command at work."""

    def __init__(
        self,
        recipe: Recipe,
        task: Task,
        asked: Asked,
        answers: Answers,
        orders: Orders,
        train: Sequence[Example],
        measured: Sequence[Example],
        display: Display,
    ) -> None:
        self.made, self.answers = Made(), answers
        self._recipe, self._task, self._asked = recipe, task, asked
        self._orders, self._display = orders, display
        share = recipe.synthetic.near_copy
        self._known = {
            "measured": NearCopies((row.text for row in measured), share),
            "taught": NearCopies((row.text for row in train), share),
            "repeated": NearCopies((), share),
        }
        self._labels = {label.name: label for label in task.labels}

    def run(self) -> None:
        """Ask until nothing lacks, nothing may be asked, or a label is given up."""
        table = self._recipe.synthetic
        for _ in range(_MOST_ROUNDS):
            lacking = {name: table.rows_per_label - self.made.n_of(name) for name in self._labels}
            orders = [
                self._orders.next(name)
                for name, n in lacking.items()
                for _ in range(-(-max(n, 0) // table.rows_per_call))
            ]
            if not orders:
                return
            drafts = self._new(orders, self._written(orders))
            self._keep(drafts, self._labels_of([text for _, text in drafts], [one.label.name for one, _ in drafts]))
            if self.answers.is_full:
                return

    def _written(self, orders: Sequence[Order]) -> list[list[str] | None]:
        table = self._recipe.synthetic
        questions = [wording.ask_for_rows(self._task, one, table.temperature, table.max_tokens) for one in orders]
        found = ask_and_read(
            self._given(self._asked.write, self._asked.writer, "rows"),
            questions,
            lambda number, answer: wording.read_rows(answer, orders[number].n_rows),
            wording.NOT_ROWS,
            self.made.rows_read,
        )
        self.made.n_written += sum(len(texts) for texts in found if texts)
        return found

    def _new(self, orders: Sequence[Order], written: Sequence[list[str] | None]) -> list[tuple[Order, str]]:
        """What can be used and is nearly none of the rows that are there, each with its order; the rest is counted."""
        drafts = []
        for order, texts in zip(orders, written, strict=True):
            of_seed = NearCopies([order.seed.text], self._recipe.synthetic.near_copy)
            known = {**self._known, "of its seed": of_seed}
            for text in texts or ():
                why = "" if wording.is_usable(text) else "unusable"
                why = why or next((name for name, copies in known.items() if copies.find(text) is not None), "")
                if why:
                    # A seed of the pool is learnt by students, and is as good as a train row.
                    self.made.dropped["taught" if why == "of its seed" else why] += 1
                    continue
                self._known["repeated"].add(text)
                drafts.append((order, text))
        return drafts

    def _labels_of(self, texts: Sequence[str], written_for: Sequence[str]) -> list[str | None]:
        """The second answer: what label each text has."""
        choices = [self._asked_labels(name) for name in written_for]
        max_tokens = self._recipe.synthetic.max_tokens
        questions = [
            wording.ask_for_label(self._task, labels, text, max_tokens)
            for text, labels in zip(texts, choices, strict=True)
        ]
        return ask_and_read(
            self._given(self._asked.check, self._asked.checker, "labels"),
            questions,
            lambda number, answer: wording.read_label(answer, choices[number]),
            wording.NOT_A_LABEL,
            self.made.labels_read,
        )

    def _asked_labels(self, name: str) -> Sequence[Label]:
        if len(self._labels) <= _MOST_ASKED:
            return self._task.labels
        alike = {name, *self._orders.confusable[name][:_N_ALIKE]}
        return [label for label in self._task.labels if label.name in alike]

    def _keep(self, drafts: Sequence[tuple[Order, str]], labels: Sequence[str | None]) -> None:
        for (order, text), label in zip(drafts, labels, strict=True):
            if label != order.label.name:
                self.made.dropped["unanswered" if label is None else "disagreed"] += 1
                continue
            self.made.rows.append(
                {
                    "text": text,
                    "label": order.label.name,
                    SEED: order.seed.id,
                    SEED_TEXT: order.seed.text,
                    SHOWN: "\n".join(" ".join(shown.split()) for _, shown in order.confusable),
                    "persona": order.persona,
                    "length": order.length,
                    MODEL: self._asked.writer,
                    CHECKED_BY: self._asked.checker,
                }
            )

    def _given(self, ask: Ask, name: str, what: str) -> Callable[[Sequence[Question]], list[Answer | None]]:
        def given(questions: Sequence[Question]) -> list[Answer | None]:
            wanted, n_kept = self._recipe.synthetic.rows_per_label * len(self._labels), len(self.made.rows)

            def say(done: int) -> None:
                message = f"{n_kept} of {wanted} rows kept, {self.answers.n_new} questions asked"
                self._display.progress(done, len(questions), f"{what}; {message}")

            return self.answers.ask(ask, name, questions, self._recipe.synthetic.at_once, say)

        return given


def _models(recipe: Recipe) -> Asked:
    table = recipe.synthetic
    writer = LanguageModel(table.model, table.url, "[synthetic] model or url")
    own = not table.check_model
    checker = (
        writer if own else LanguageModel(table.check_model, table.check_url, "[synthetic] check_model or check_url")
    )
    return Asked(writer, checker, writer.name, checker.name)


def _write(path: Path, rows: Sequence[dict[str, Any]], folder: Path, display: Display) -> None:
    """Write the rows. Others that are there, which somebody may have edited, are copied into a folder before."""
    lines = [printable_json(json.dumps(row, ensure_ascii=False)) for row in rows]
    content = "".join(f"{line}\n" for line in lines).encode()
    before = path.read_bytes() if path.is_file() else content
    if before != content:
        aside = _free(folder, "rows")
        write_bytes(aside, before)
        display.say(f"the rows that were in {path} are kept in {aside}")
    write_bytes(path, content)


def _free(folder: Path, stem: str) -> Path:
    """The first of stem-1.jsonl, stem-2.jsonl, … that is not there."""
    return next(path for n in count(1) if not (path := folder / f"{stem}-{n}.jsonl").exists())
