"""The verb ``next-rows``: a pool in and a sheet out, or a filled sheet in and rows to be taught out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from labelwright.data.asked.asking import asking
from labelwright.data.columns import TextColumns, named_columns
from labelwright.data.records import Fault, Row, listed
from labelwright.errors import DataError, RecipeError
from labelwright.files import write_text
from labelwright.pictures.rows import with_texts
from labelwright.plain_text import shell_word
from labelwright.settings import shown
from workbench.first.dialect import scan_found
from workbench.next_rows.answering import Answerer, best_there_is
from workbench.next_rows.answers import Estimate, estimate, known_answers, read_answers, write_answers
from workbench.next_rows.batch import (
    FOLDER,
    SHEETS,
    AskedRow,
    Batch,
    batches_of,
    number_of,
    own_columns,
    sheet_of,
    write_batch,
)
from workbench.next_rows.choice import choose, text_vectors
from workbench.next_rows.pool import Pool, PoolRow, read_pool, text_mark
from workbench.progress import Display, silence_libraries
from workbench.recipe.beside.outside import all_out_of_scope
from workbench.recipe.recipe import Recipe
from workbench.recipe.rows import Rows, read_rows, task_of
from workbench.run.folder import RUNS, RunFolder, find_run, locked, runs_of
from workbench.verbs import make_command
from workbench.wording import plural

# Rows that the classifier answers however long it takes, as a multiple of those that are wanted.
_LEAST = 4
MOST_ASKED = 10_000


@dataclass(frozen=True)
class Wanted:
    """How many rows, and how they are chosen and shown.

    Attributes
    ----------
    n : int
    share : float
        Of them, drawn by chance.
    minutes : float
        For the classifier to answer the pool.
    out : str
        Where the sheet goes as well; empty for the batch's own folder alone.
    text : str or sequence of str
        The pool's column of texts, or columns with commas between; empty for the recipe's.
    force : bool
        Whether ``out`` may be written over.
    """

    n: int = 50
    share: float = 0.2
    minutes: float = 5.0
    out: str = ""
    text: str | Sequence[str] = ""
    force: bool = False

    def __post_init__(self) -> None:
        faults = []
        if not 1 <= self.n <= MOST_ASKED:
            faults.append(f"N={self.n}: expected 1 to {MOST_ASKED:,} rows")
        if not 0 <= self.share <= 1:
            faults.append(f"SHARE={self.share:g}: expected a share from 0 to 1, such as 0.2")
        if not 0 < self.minutes < 10_000:
            faults.append(f"MINUTES={self.minutes:g}: expected a number of minutes above 0")
        if self.out and Path(self.out).suffix.lower() not in SHEETS:
            faults.append(f"OUT={self.out}: expected a file that ends in {' or '.join(SHEETS)}")
        if self.out and Path(self.out).exists() and not self.force:
            faults.append(f"OUT={self.out}: is there already; give another name, or FORCE=1 to write over it")
        if self.out and not Path(self.out).parent.is_dir():
            faults.append(f"OUT={self.out}: there is no folder {Path(self.out).parent}")
        if faults:
            raise RecipeError("; ".join(faults))

    @property
    def n_random(self) -> int:
        """Rows drawn by chance: one at least, where any share is."""
        return max(round(self.share * self.n), 1) if self.share else 0


def ask(recipe: Recipe, run: str, pool: Any, wanted: Wanted, display: Display) -> tuple[Path, Batch]:
    """Choose rows of a pool and write the sheet that people fill; returns where it lies, and what is asked.

    Parameters
    ----------
    run : str
        Whose classifier answers the pool; empty for the newest.
    pool : path or DataFrame
        Rows without labels.

    Raises
    ------
    LabelwrightError
        A pool that cannot be read or in which nothing is left to ask; rows that bring their own choices.
    """
    rows = read_rows(recipe)
    task, root = task_of(recipe, rows), root_of(recipe)
    if beyond := asking(task).beyond:
        raise RecipeError(f"next-rows needs labels that all rows share, one a row; here {beyond}")
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        batches = batches_of(root)
        # An answered batch whose folder is gone counts too, or its ids would be another text's.
        answered = map(number_of, known_answers(_answers_path(recipe), recipe.data))
        number = 1 + max([*(batch.number for batch in batches), *answered], default=0)
        read = _read_pool(recipe, rows, pool, wanted, batches, recipe.seed + number, display)
        display.say(read.told)
        silence_libraries()
        answerer = best_there_is(recipe, _run_of(recipe, run), rows)
        asked = _asked(read, answerer, wanted, number, recipe.seed + number, display)
        batch = Batch(number, read.source, answerer.name, asked, read.counts)
        columns = _columns(recipe)
        kind = Path(wanted.out).suffix.lower() or SHEETS[0]
        sheet = write_batch(root, batch, task.labels, columns, kind)
    if wanted.out:
        sheet = Path(wanted.out)
        write_text(sheet, sheet_of(asked, columns, kind))
    _say_asked(batch, sheet, recipe, display)
    return sheet, batch


def take(recipe: Recipe, labels: str | Path, display: Display) -> list[Estimate]:
    """Take a filled sheet; returns what its rows drawn by chance say of the classifiers that chose them.

    Raises
    ------
    LabelwrightError
        Nothing was asked; a sheet that cannot be used, with all that is wrong with it. Nothing is written then.
    """
    rows, root, table = read_rows(recipe), root_of(recipe), recipe.data
    batches = batches_of(root)
    if not batches:
        raise RecipeError(
            f"nothing was asked for {recipe.name} yet: {make_command('next-rows', recipe)} POOL=FILE asks"
        )
    path, log = _answers_path(recipe), root / f"{recipe.name}-changes.jsonl"
    names = [*task_of(recipe, rows).names, *([table.out_of_scope] if table.out_of_scope else [])]
    columns = _columns(recipe)
    with locked(root):
        given = read_answers(_scan(labels, display, has_header=True), str(labels), batches, columns, names)
        n_new, n_other = write_answers(given, batches, table, path, log, str(labels))
        known = known_answers(path, table)
    open_rows = sum(row.id not in known for batch in batches for row in batch.rows)
    display.say(f"{plural(n_new, 'new label')}, {n_other} changed; {plural(open_rows, 'row')} asked and still open")
    touched = [batch for batch in batches if any(row.id in given for row in batch.rows)]
    estimates = [estimate(batch, known) for batch in touched]
    for one in estimates:
        display.say(one.told)
    if known:
        _say_next(recipe, path, log, display)
    return estimates


def root_of(recipe: Recipe) -> Path:
    """Where a recipe's batches and answers lie."""
    return RUNS / recipe.name / FOLDER


def _columns(recipe: Recipe) -> tuple[str, ...]:
    """Those of a sheet that the recipe names: of the text, and the label's."""
    return (*recipe.data.text_columns.names, recipe.data.label)


def _answers_path(recipe: Recipe) -> Path:
    return root_of(recipe) / f"{recipe.name}-answers.jsonl"


def _run_of(recipe: Recipe, run: str) -> RunFolder | None:
    parent = RUNS / recipe.name
    if run:
        return find_run(parent, run)
    known = runs_of(parent)
    return RunFolder(known[-1]) if known else None


def _read_pool(
    recipe: Recipe, rows: Rows, pool: Any, wanted: Wanted, batches: list[Batch], seed: int, display: Display
) -> Pool:
    table = recipe.data
    source = str(pool) if isinstance(pool, (str, Path)) else "the pool"
    folder = Path(pool).parent if isinstance(pool, (str, Path)) else Path.cwd()
    found = with_texts(_scan(pool, display), table.text_columns, table.image, folder)
    first = next(found, None)
    if first is None:
        raise DataError(f"{source}: no rows")
    has = list(first.record) if isinstance(first, Row) else []
    said = named_columns(wanted.text, has)
    text = TextColumns(said) if said else table.text_columns.of_table(has)
    if not said and text != table.text_columns:
        display.say(f"the pool's only column, {text}, is taken for the text")
    columns = {"text": text, "label": table.label, "id": table.id, "group": table.group}
    labelled = [*rows, *chain.from_iterable(all_out_of_scope(table).values())]
    known = {text_mark(row.text) for row in labelled}
    asked = {text_mark(row.text) for batch in batches for row in batch.rows}
    return read_pool(chain([first], found), source, columns, known, asked, seed)


def _scan(given: Any, display: Display, has_header: bool = False) -> Iterator[Row | Fault]:
    """Rows of a file or folder, its dialect found out and said, or of a data frame."""
    if not isinstance(given, (str, Path)):
        yield from (Row(number, dict(one)) for number, one in enumerate(given.to_dict("records"), start=1))
        return
    yield from scan_found(Path(given), display.say, has_header)


def _asked(
    pool: Pool, answerer: Answerer, wanted: Wanted, number: int, seed: int, display: Display
) -> tuple[AskedRow, ...]:
    """The rows that are asked, in an order of chance, so that whoever stops half-way leaves a fair half."""
    texts = [row.text for row in pool.rows]
    with display.step("answering the pool"):
        probs = answerer.in_time(
            texts, 60 * wanted.minutes, _LEAST * wanted.n, lambda done: display.progress(done, len(texts))
        )
    if len(probs) < len(texts):
        display.say(f"answered {len(probs):,} of {len(texts):,} rows in {wanted.minutes:g} minutes; the others wait")
    chosen = choose(probs, lambda rows: text_vectors([texts[i] for i in rows]), wanted.n, wanted.n_random, seed)
    decided = answerer.decision.decide(probs)
    in_order: Iterable[Any] = sorted(chosen, key=lambda one: text_mark(texts[one.row]))
    asked = []
    for place, (row, why) in enumerate(in_order, start=1):
        own: PoolRow = pool.rows[row]
        guess = answerer.labels[decided.choice[row]] if decided.choice[row] >= 0 else None
        sure = float(decided.confidence[row])
        id, more = f"b{number}-{place}", (own.number, own.id, own.group, own.cells)
        asked.append(AskedRow(id, own.text, why, guess, sure, *more))
    return tuple(asked)


def _say_asked(batch: Batch, sheet: Path, recipe: Recipe, display: Display) -> None:
    n = Counter(row.why for row in batch.rows)
    kinds = listed(f"{n[why]} {why}" for why in ("random", "uncertain", "diverse") if n[why])
    labels = root_of(recipe) / str(batch.number) / "labels.csv"
    display.say(f"the pool was answered by {batch.classifier}")
    display.say(f"{plural(len(batch.rows), 'row')} to label ({kinds}): {sheet}")
    display.say(
        f"fill the column {shown(recipe.data.label)} with labels of {labels}; what is left empty stays open, and "
        f"{shown(own_columns(_columns(recipe))[0])} must stay as it is"
    )
    if recipe.data.out_of_scope:
        display.say(f"a row that no label is right for: {shown(recipe.data.out_of_scope)}")
    display.say(f"then: {make_command('next-rows', recipe)} LABELS={shell_word(str(sheet))}")


def _say_next(recipe: Recipe, path: Path, log: Path, display: Display) -> None:
    display.say(f"rows to teach: {path}; every change: {log}")
    if recipe.data.train_path == str(path):
        display.say("the recipe teaches them; dev, calib and test stay as they are")
    else:
        instead = f" in place of {shown(recipe.data.train_path)}" if recipe.data.train_path else ""
        display.say(f"to teach them, set in {recipe.path}, [data]: train_path = {json.dumps(str(path))}{instead}")
    display.say(f"next: {make_command('demo', recipe)} FORCE=1, a new run, since its train rows are others")
