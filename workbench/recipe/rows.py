"""Rows in, splits out: reads a recipe's data, makes its labels one list, and deals the rows to four sides."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from labelwright.data.asked.cells import AskedColumns
from labelwright.data.asked.questions import Point, points_of
from labelwright.data.asked.rows import rejoined
from labelwright.data.choices import over_letters, read_label_as
from labelwright.data.records import listed
from labelwright.data.spelling import Source, reconcile, text_key
from labelwright.data.task import (
    Example,
    Splits,
    Task,
    check_examples,
    conflicting_rows,
    conflicts,
    family_keys,
)
from labelwright.errors import DataError
from workbench.recipe.beside.outside import in_scope
from workbench.recipe.checks import check_rewards, check_styles
from workbench.recipe.dealing import deal, dealt_remarks, held
from workbench.recipe.files import read_files
from workbench.recipe.recipe import Recipe
from workbench.recipe.splits import SIDES
from workbench.recipe.tables.data import DataTable, SplitTable

# Rows of a label that ``max_rows`` leaves where it can: one for every side.
_ROWS_A_LABEL = len(SIDES)


class Rows(list[Example]):
    """A recipe's rows; ``remarks`` say what was done to them, a sentence each, for whoever must trust the numbers."""

    def __init__(self, rows: Iterable[Example] = (), remarks: Sequence[str] = ()) -> None:
        super().__init__(rows)
        self.remarks = list(remarks)


def read_rows(recipe: Recipe) -> Rows:
    """The recipe's rows, checked against its labels, before anything heavy is imported."""
    rows = _beside_measured(load_rows(recipe.data, recipe.label_names or None, recipe.seed, recipe.asked), recipe)
    task = task_of(recipe, rows)
    check_rewards(recipe, task)
    check_styles(recipe, task)
    return rows


def _beside_measured(rows: Rows, recipe: Recipe) -> Rows:
    """The rows without those that were labelled later and belong to a row of dev, calib or test."""
    if not any(row.side == "train" for row in rows):
        return rows
    taught = {row.id for row in make_splits(rows, recipe.splits, recipe.seed).train}
    kept = [row for row in rows if row.side != "train" or row.id in taught]
    if n := len(rows) - len(kept):
        told = f"{n} rows of {recipe.data.train_path} are left out: dev, calib or test has their text or their group"
        rows.remarks.append(told)
    return Rows(kept, rows.remarks)


def task_of(recipe: Recipe, rows: Sequence[Example]) -> Task:
    """The recipe's task over these rows."""
    return recipe.task_for(tuple({row.label for row in rows}), max_choices(rows))


def load_rows(
    table: DataTable, labels: Sequence[str] | None = None, seed: int = 0, asked: Sequence[AskedColumns] = ()
) -> Rows:
    """Read and check the recipe's rows.

    Parameters
    ----------
    labels : sequence of str, optional
        The task's labels; without them every label that occurs is taken.
    seed : int
        Draws ``max_rows`` rows.
    asked : sequence of AskedColumns
        Where more is asked than one label of a list: an example for each answer, as ``over_points`` makes them.

    Returns
    -------
    Rows
        Over letters where rows bring their own choices. Those of a test split that is given have ``side`` "test", those
        of ``train_path`` "train".

    Raises
    ------
    DataError
        Whatever ``read_examples``, ``over_points``, ``reconcile`` and ``check_examples`` refuse; labels that only the
        test file has; a dataset id that cannot be read.
    """
    source, given = table.source, table.test_source
    remarks: list[str] = []
    files, n_empty = read_files(table, asked)
    remarks += [f"{n} rows of {name} are left out: no text or no label" for name, n in n_empty.items() if n]
    if table.choices:
        files = {name: in_scope(rows, table) for name, rows in files.items()}
        label_as = table.choice_label
        if label_as == "auto":
            label_as = read_label_as([row for rows in files.values() for row in rows], " and ".join(files))
        files = {name: over_letters(rows, name, label_as) for name, rows in files.items()}
    elif not asked:
        files = _reconciled(files, table, labels, remarks)
    rows, test, later = files[source], files.get(given, []), files.get(table.train_path, [])
    least_rows = 1 if given or table.choices else 2
    rows = _without_conflicts(rows, table, remarks)
    rows, test = _without_rare(rows, test, table, least_rows, remarks)
    check_examples(rows, labels, source, least_rows=least_rows)
    if given:
        if not test:
            raise DataError(f"{given}: no rows; a test split needs some")
        check_examples(test, labels, given, least_rows=0)
        remarks += _test_remarks(test, given)
        test = as_side("test", test, {row.id for row in rows})
        rows = _apart(rows, test, table, remarks)
    if later:
        check_examples(later, labels, table.train_path, least_rows=0)
        later = as_side("train", later, {row.id for row in (*rows, *test)})
        later = _not_contradicting(rows, later, table, remarks)
    if table.max_rows:
        points = points_of([one.question for one in asked])
        several = len(points) > 1
        rows = _drawn_whole(rows, points, table.max_rows, seed) if several else _drawn(rows, table.max_rows, seed)
    if not table.choices:
        rows, test = _without_rare(rows, test, table, 1, remarks)
        _refuse_untaught([*rows, *later], test, table)
    return Rows([*rows, *test, *later], remarks)


def _without_conflicts(rows: list[Example], table: DataTable, remarks: list[str]) -> list[Example]:
    """The rows whose text has one label, where ``leave_out`` says so."""
    conflicting = conflicting_rows(rows) if "conflicting" in table.leave_out else []
    if not conflicting:
        return rows
    out = {i for same in conflicting for i in same}
    n = len(conflicting)
    remarks.append(f"{len(out)} rows of {table.source} are left out: texts with several labels, {n} of them")
    return [row for i, row in enumerate(rows) if i not in out]


def _without_rare(
    rows: list[Example], test: list[Example], table: DataTable, least_rows: int, remarks: list[str]
) -> tuple[list[Example], list[Example]]:
    """Both without the rows of labels that fewer of the first have, where ``leave_out`` says so."""
    if "rare" not in table.leave_out:
        return rows, test
    counts = Counter(row.label for row in rows)
    rare = sorted({row.label for row in (*rows, *test) if counts[row.label] < least_rows})
    if rare:
        remarks.append(f"rows of labels with too few rows to learn are left out: {listed(map(repr, rare), 8)}")
    return [row for row in rows if row.label not in rare], [row for row in test if row.label not in rare]


def _reconciled(
    files: dict[str, list[Example]], table: DataTable, labels: Sequence[str] | None, remarks: list[str]
) -> dict[str, list[Example]]:
    """The rows in scope with their labels written alike."""
    named = [Source("the recipe's labels", dict.fromkeys(labels, 0), listed=True)] if labels else []
    if table.out_of_scope:
        named.append(Source("the recipe's out_of_scope", {table.out_of_scope: 0}, listed=True))
    counts = {name: Counter(row.label for row in rows) for name, rows in files.items()}
    remedy = 'set [data] similar_labels = "merge" (they are one label) or "keep" (they are different labels)'
    written = reconcile([*named, *(Source(*item) for item in counts.items())], table.similar_labels, remedy)
    changed = {
        f"{label!r} ({n} rows of {name}) as {written[label]!r}"
        for name, found in counts.items()
        for label, n in found.items()
        if written[label] != label
    }
    if changed:
        remarks.append(f"labels read as similar_labels says: {listed(sorted(changed), 8)}")
    files = {name: [replace(row, label=written[row.label]) for row in rows] for name, rows in files.items()}
    if table.out_of_scope and not any(row.label == table.out_of_scope for rows in files.values() for row in rows):
        remarks.append(f"no row has the label {table.out_of_scope!r} that out_of_scope names")
    return {name: in_scope(rows, table) for name, rows in files.items()}


def _test_remarks(test: Sequence[Example], path: str) -> list[str]:
    """What makes a given test file less of a test; it is measured on as it is."""
    remarks = []
    if same := conflicts(test):
        remarks.append(f"{path}: no answer is right for texts with several labels, which are kept: {'; '.join(same)}")
    if len(labels := {row.label for row in test}) == 1:
        remarks.append(f"{path}: all rows have the label {next(iter(labels))!r}: this measures one label only")
    return remarks


def as_side(side: str, given: Sequence[Example], taken: set[str]) -> list[Example]:
    """The rows of a side's own file, marked, with ids that no other has: without a column all files number theirs."""
    prefix = f"{side}:"
    while any(f"{prefix}{row.id}" in taken for row in given):
        prefix += ":"
    return [replace(row, id=f"{prefix}{row.id}", side=side) for row in given]


def _not_contradicting(
    rows: Sequence[Example], later: list[Example], table: DataTable, remarks: list[str]
) -> list[Example]:
    """Of the rows labelled later those whose text has no other label; what has is left out where that is asked."""
    known: dict[str, str] = {}
    for row in (*rows, *later):
        known.setdefault(text_key(row.text), row.label)
    wrong = [row for row in later if known[text_key(row.text)] != row.label]
    if not wrong:
        return later
    told = f"{table.train_path}, rows {listed(row.id.partition(':')[2] for row in wrong)}: another row, there or in "
    told += f"{table.source}, gives the same text another label"
    if "conflicting" not in table.leave_out:
        raise DataError(f"{told}; correct one of them")
    remarks.append(f"{told}; they are left out")
    return [row for row in later if row not in wrong]


def _apart(rows: list[Example], test: list[Example], table: DataTable, remarks: list[str]) -> list[Example]:
    """The rows that no family connects with a test row; how many are left out, and why, goes to the remarks."""
    found = held(rows, test)
    if not found:
        return rows
    by_key = {key: row for row in reversed(test) for key in family_keys(row)}
    twins: dict[int, Example] = {}
    for i in sorted(found):
        same, near, *_ = (by_key.get(key) for key in family_keys(rows[i]))
        if twin := same or near:
            twins[i] = twin
    told = f"{len(found)} rows of {table.source} are left out: "
    told += (
        f"{len(twins)} have the text of a row of {table.test_source}, {len(found) - len(twins)} belong to its groups"
    )
    if twins:
        # The least alike are what a reader wants to see.
        i, twin = min(twins.items(), key=lambda item: (text_key(rows[item[0]].text) == text_key(item[1].text), item[0]))
        told += f"; row {rows[i].id} {_short(rows[i].text)!r} is row {twin.id} {_short(twin.text)!r} of the test"
        n_otherwise = sum(rows[i].label != twin.label for i, twin in twins.items())
        told += f"; {n_otherwise} of them are labelled otherwise there" if n_otherwise else ""
    remarks.append(told)
    return [row for i, row in enumerate(rows) if i not in found]


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def _drawn(rows: list[Example], n: int, seed: int) -> list[Example]:
    """``n`` rows drawn by chance; of rare labels enough for every side, in place of rows of the most frequent ones."""
    if n >= len(rows):
        return rows
    chance = random.Random(seed)
    chosen = set(chance.sample(range(len(rows)), n))
    of_label: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        of_label[row.label].append(i)
    if n < len(of_label):
        raise DataError(f"max_rows = {n}: the rows have {len(of_label)} labels; expected at least one row of each")
    wanted = min(_ROWS_A_LABEL, n // len(of_label))
    for label in sorted(of_label):
        have = [i for i in of_label[label] if i in chosen]
        lacking = min(wanted, len(of_label[label])) - len(have)
        if lacking > 0:
            chosen.update(chance.sample([i for i in of_label[label] if i not in chosen], lacking))
    while len(chosen) > n:
        most = max(sorted(of_label), key=lambda label: sum(i in chosen for i in of_label[label]))
        chosen.remove(chance.choice([i for i in of_label[most] if i in chosen]))
    return [rows[i] for i in sorted(chosen)]


def _drawn_whole(rows: list[Example], points: Sequence[Point], n: int, seed: int) -> list[Example]:
    """``n`` rows of several answers drawn by chance, each with all of them; more where an answer would have none."""
    of_row = rejoined(rows, points).row
    n_rows = max(of_row) + 1
    if n >= n_rows:
        return rows
    order = random.Random(seed).sample(range(n_rows), n_rows)
    chosen = set(order[:n])
    wanted = Counter(row.label for row in rows)
    have = Counter(row.label for row, place in zip(rows, of_row, strict=True) if place in chosen)
    answers: dict[int, list[str]] = defaultdict(list)
    for row, place in zip(rows, of_row, strict=True):
        answers[place].append(row.label)
    for place in order[n:]:
        if any(have[label] < min(_ROWS_A_LABEL, wanted[label]) for label in answers[place]):
            chosen.add(place)
            have.update(answers[place])
    return [row for row, place in zip(rows, of_row, strict=True) if place in chosen]


def _refuse_untaught(rows: Sequence[Example], test: Sequence[Example], table: DataTable) -> None:
    """Refuse labels that only the test file has rows of: no classifier could learn them."""
    taught = {row.label for row in rows}
    untaught = Counter(row.label for row in test if row.label not in taught)
    if untaught:
        told = listed((f"{label!r} ({n} row{'' if n == 1 else 's'})" for label, n in untaught.most_common()), 8)
        raise DataError(
            f"{table.test_source}: labels that no row of {table.source} teaches (rows that are also in the test are "
            f"left out): {told}; add rows of them, or remove these; a label that is none goes into [data] out_of_scope"
        )
    if len(taught) < 2:
        raise DataError(f"{table.source}: rows of one label are left, {next(iter(taught), 'none')!r}; two are needed")


def max_choices(rows: Sequence[Example]) -> int:
    """The most choices of any row; 0 where rows share labels."""
    return max((len(row.choices or ()) for row in rows), default=0)


def make_splits(rows: Sequence[Example], shares: SplitTable, seed: int) -> Splits:
    """Deal rows to train, dev, calib and test: grouped, stratified, the same for the same rows and seed.

    Rows of one group, and rows whose normalised texts are equal, form one family and stay on one side;
    ``workbench.recipe.dealing.deal`` says who gets which. Rows given as the test side are the test side, whole. Rows
    given as train rows change nothing of how the others are dealt; those that belong to the family of a row that is
    measured on are on no side.

    Returns
    -------
    Splits
        Every other row on exactly one side, in the order of ``rows``.

    Raises
    ------
    DataError
        If the rows form too few families for all sides.
    """
    given = tuple(row for row in rows if row.side == "test")
    dealt = deal([row for row in rows if row.side is None], _shares(shares, bool(given)), seed)
    later = [row for row in rows if row.side == "train"]
    measured = held(later, [*dealt["dev"], *dealt["calib"], *(given or dealt["test"])]) if later else set()
    train = (*dealt["train"], *(row for i, row in enumerate(later) if i not in measured))
    return Splits(train, dealt["dev"], dealt["calib"], given or dealt["test"])


def split_remarks(splits: Splits, shares: SplitTable) -> list[str]:
    """What the reader should know of how rows were dealt, a sentence each; nothing where all came out as asked."""
    given = any(row.side == "test" for side in SIDES for row in getattr(splits, side))
    has_choices = any(row.choices for row in splits.train)
    # What came later was not dealt, and changes no share.
    splits = replace(splits, train=tuple(row for row in splits.train if row.side is None))
    return dealt_remarks(splits, _shares(shares, given), missing=not has_choices)


def _shares(shares: SplitTable, given_test: bool) -> dict[str, float]:
    """Of the sides other than train; a test side that is given takes none."""
    return {"dev": shares.dev, "calib": shares.calib} | ({} if given_test else {"test": shares.test})
