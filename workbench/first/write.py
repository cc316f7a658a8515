"""The verb ``new``: find, say, propose, and write ``runs/NAME.toml`` once an ordinary run could begin with it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from labelwright.data.records import listed
from labelwright.data.sources import split_of
from labelwright.data.task import Example
from labelwright.errors import DataError, LabelwrightError, RecipeError
from labelwright.files import write_text
from labelwright.plain_text import printable_line, shell_word
from workbench.first.dialect import Ask
from workbench.first.findings import Findings, conflicts_csv, look, sentences
from workbench.first.named import Named
from workbench.first.proposal import propose
from workbench.first.source import Found, find_source, kind_of_name
from workbench.first.text import Line, recipe_text
from workbench.progress import Display
from workbench.recipe.faults import name_fault
from workbench.recipe.files import read_files
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import load_rows, make_splits, read_rows, split_remarks
from workbench.recipe.splits import SIDES
from workbench.recipe.tables.data import DataTable, LeftOut
from workbench.run.folder import RUNS

# What stands for "none of these" among labels that only test rows have.
_NO_LABEL = re.compile(r"(?i).*(none|no[_ -]|oos|out[_ -]?of[_ -]?(scope|domain)|unknown|undefined|other).*")
# Columns whose name says what is asked; of others the question speaks of a label.
_ASKED = re.compile(r"[^\W\d_]{3,}([ _-][^\W\d_]+)?")
_SAYS_NOTHING = ("label", "labels", "class", "target", "output", "gold")
_WHY = {
    "path": "",
    "hub": "a dataset's id; it is fetched once",
    "config": "of the dataset",
    "encoding": "a guess, since the file does not say it: look whether accents are right",
    "header": "the first line is a row; columns are called by their number",
    "quotes": "quotes are signs of the texts",
    "sheet": "of the workbook",
    "title_rows": "they stand above the columns' names",
    "label_prefix": "how the word begins that is the label",
    "text": "the column to classify",
    "label": "the column with the answer",
    "group": "rows of one group stay on one side of every split",
    "id": "a unique name a row",
    "choices": "the column with the row's own answers",
    "split": "the column that says which split a row was given for",
    "read_splits": "the others have no labels",
    "test_split": "these rows are the test split, whole",
    "test_path": "these rows are the test split, whole",
}


def new_recipe(named: Named, force: bool, display: Display, ask: Ask | None = None) -> Path:
    """Write a recipe for a person's rows, and say what was found.

    Parameters
    ----------
    force : bool
        Whether a recipe of that name may be replaced.
    ask : callable, optional
        Asks a person which of several columns or sheets; without it the best is taken and the others are named.

    Returns
    -------
    Path
        ``runs/NAME.toml``. Beside it lies ``NAME-conflicts.csv`` where a text has several labels.

    Raises
    ------
    LabelwrightError
        Rows or columns that cannot be used; a name that is taken. Nothing is written then.
    """
    name = named.name or _name_of(named.data)
    if fault := name_fault(name):
        raise RecipeError(f"NAME={name}: {fault}")
    target, conflicts = RUNS / f"{name}.toml", RUNS / f"{name}-conflicts.csv"
    taken = [str(path) for path in (target, conflicts) if path.exists()]
    if taken and not force:
        raise RecipeError(f"{listed(taken)} is there already: give another NAME=, or FORCE=1 to write it anew")
    display.say(f"reading {named.data} …")
    found = find_source(named, ask)
    rows, test, n_empty = _read(found.table)
    if not rows:
        raise DataError(f"{named.data}: no row has both a text and a label")
    display.say(f"looking at {len(rows) + len(test):,} rows …")
    seen = look(rows, test)
    table, why = _mended(found.table, seen, n_empty, conflicts)
    has_choices = bool(table.choices)
    tables = propose(seen, has_choices)
    tables["data"] = [*_data_lines(table, why), *tables["data"]]
    tables = {**tables, "task": [_question(found)]}
    order = ["", "data", "splits", "task", *(one for one in tables if one not in ("", "data", "splits", "task"))]
    head = [
        f"{seen.n_rows} rows of {named.data}. `make demo RECIPE={target}` runs this recipe.",
        "Only what differs from the defaults stands here; docs/recipe.md has every setting with its default.",
    ]
    text = recipe_text(head, {one: tables[one] for one in order})
    for line in [*found.remarks, *(sentences(seen, table.test_source) if not has_choices else [])]:
        display.say(f"  {line}")
    for line in _tried(text, target):
        display.say(f"  {line}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if seen.conflicting and not has_choices:
        write_text(conflicts, conflicts_csv(rows, seen))
        display.say(f"  texts with several labels, all of them, to mend: {conflicts}")
    write_text(target, text)
    display.say(f"{_columns(table)}\nrecipe: {target}\nnext: make demo RECIPE={shell_word(str(target))}")
    return target


def _read(table: DataTable) -> tuple[list[Example], list[Example], int]:
    """Rows to deal, test rows, and how many more have no text or no label."""
    table = replace(table, leave_out=("empty",))
    files, n_empty = read_files(table)
    if table.choices:
        read = load_rows(table)
        return [row for row in read if row.side is None], [row for row in read if row.side], sum(n_empty.values())
    return files[table.source], files.get(table.test_source, []), sum(n_empty.values())


def _mended(table: DataTable, seen: Findings, n_empty: int, conflicts: Path) -> tuple[DataTable, dict[str, str]]:
    """The table with what it takes to run all the same, and why each of it is there."""
    why: dict[str, str] = {}
    out: list[LeftOut] = []
    if n_empty:
        out.append("empty")
    if table.choices:
        return replace(table, leave_out=tuple(out)), {"leave_out": f"rows without text or label: {n_empty}"}
    if seen.spellings:
        table = replace(table, similar_labels="merge")
        why["similar_labels"] = f'{listed(map(repr, seen.spellings[0]))} are one label; "keep" if they are not'
    if seen.conflicting:
        out.append("conflicting")
    nobody = [label for label in seen.untaught if _NO_LABEL.fullmatch(label)]
    if len(nobody) == 1:
        table = replace(table, out_of_scope=nobody[0])
        why["out_of_scope"] = "only test rows have it: rows that no label is right for"
    if set(seen.untaught) - set(nobody[:1]) or seen.unlearnable:
        out.append("rare")
    kinds: dict[LeftOut, str] = {
        "empty": f"rows without text or label: {n_empty}",
        "conflicting": f"texts with several labels: {len(seen.conflicting)}, all in {conflicts}",
        "rare": "labels with too few rows to be learnt and measured",
    }
    why["leave_out"] = "; ".join(kinds[one] for one in out)
    return replace(table, leave_out=tuple(out)), why


def _data_lines(table: DataTable, why: dict[str, str]) -> list[Line]:
    """What differs from the defaults."""
    lines = []
    reasons = (
        _WHY | ({} if isinstance(table.text, str) else {"text": "the columns to classify, one below the other"}) | why
    )
    for one in fields(table):
        value = getattr(table, one.name)
        if value != one.default:
            lines.append(Line(one.name, value, reasons.get(one.name, "")))
    return lines


def _question(found: Found) -> Line:
    asked = found.table.label.replace("_", " ").lower()
    plain = _ASKED.fullmatch(found.table.label) and asked not in _SAYS_NOTHING
    what = "Answer the question." if found.table.choices else f"What is the {asked if plain else 'label'} of this text?"
    return Line("instructions", what, "say in your own words what is asked; tuning begins here")


def _tried(text: str, target: Path) -> list[str]:
    """What an ordinary run says of the rows. Raises what it would raise, before anything is written."""
    with tempfile.TemporaryDirectory(prefix="labelwright-") as folder:
        path = Path(folder) / target.name
        path.write_text(text, encoding="utf-8")
        try:
            recipe = read_recipe(path)
            rows = read_rows(recipe)
            splits = make_splits(rows, recipe.splits, recipe.seed)
        except LabelwrightError as error:
            said = str(error).replace(str(path), str(target))
            raise DataError(f"no recipe can be written that would run: {said}") from error
    sides = ", ".join(f"{side} {len(getattr(splits, side))}" for side in SIDES)
    return [*rows.remarks, *split_remarks(splits, recipe.splits), f"rows by split: {sides}"]


def _columns(table: DataTable) -> str:
    roles = ("label", "group", "id", "choices", "split")
    told = [f"{role} {getattr(table, role)!r}" for role in roles if getattr(table, role)]
    return f"columns: text {table.text_columns}, {', '.join(told)}"


def _name_of(data: str) -> str:
    """A recipe's name from a file's, a folder's or a dataset's; of ``train.csv`` the folder's."""
    path = Path(data.rstrip("/"))
    stem = path.name
    while (suffix := Path(stem).suffix) and kind_of_name(stem) and not path.is_dir():
        stem = stem.removesuffix(suffix)
    if split_of(Path(stem)) and re.fullmatch(r"(?i)[a-z]+", stem) and path.resolve().parent.name:
        stem = path.resolve().parent.name
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._").lower()
    return plain[:100] or "rows"


def ask_on_terminal(question: str, answers: Sequence[str]) -> str:
    """Ask a person which of several; Enter takes the first."""
    print(printable_line(question))
    for number, answer in enumerate(answers, start=1):
        print(f"  {number}  {printable_line(answer)}")
    while True:
        try:
            said = input(f"1 to {len(answers)} [1]: ").strip()
        except EOFError:
            said = ""
        if not said:
            return answers[0]
        if said.isdecimal() and 1 <= int(said) <= len(answers):
            return answers[int(said) - 1]
