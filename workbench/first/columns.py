"""Which column is what: text, label, group, id and split, from what the cells hold and what the columns are called.

A name alone decides nothing: a column called "label" whose cells are all different is none. Where two columns fit
about as well, both are named, and whoever asked for the recipe says which.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labelwright.data.choice_cells import choices_cell
from labelwright.data.columns import named_columns
from labelwright.data.records import listed
from labelwright.data.sources import split_word
from labelwright.errors import DataError
from workbench.first.cells import Column
from workbench.first.pairs import text_pair

# What columns are called, by what they are for.
_NAMES: Mapping[str, list[str]] = tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))
_MOST_LABELS = 2000
# A text is longer than a word; a label is not.
_LONG_LABEL = 60
_LABEL_WORDS = 4
_SHOWN = 6
# Of a column's cells: where fewer differ, they are no texts.
_LEAST_DISTINCT = 0.2
# How far apart two columns' scores must be for the better one to be taken unasked.
_CLOSE = 0.5


@dataclass(frozen=True)
class Roles:
    """Names of columns; empty where there is none. ``others`` holds what might have been meant, by role.

    Attributes
    ----------
    text : str or tuple of str
        Several where their cells are one text.
    """

    text: str | tuple[str, ...]
    label: str
    group: str = ""
    id: str = ""
    split: str = ""
    choices: str = ""
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def find_roles(columns: Mapping[str, Column], given: Mapping[str, str | Sequence[str]]) -> Roles:
    """What each column is taken for.

    Parameters
    ----------
    given : mapping of role to str
        Columns that were named: taken as they are, if they can be what they are named for. Several are the text where
        they are a list, or have commas between.

    Raises
    ------
    DataError
        No column for text or label, with what was found in each; a column that was named and is not there, or cannot
        be that.
    """
    named = {role: (named_columns if role == "text" else _alone)(said, columns) for role, said in given.items()}
    for role, names in named.items():
        if missing := [name for name in names if name not in columns]:
            raise DataError(f"no column {listed(map(repr, missing))} for {role}; the columns are {_named(columns)}")
    split = next((one.name for one in columns.values() if _says_split(one)), "")
    choices = next((one.name for one in columns.values() if _is_choices(one)), "")
    # Beside others a number, or a date, is a part of a text.
    no_text = _no_text if len(named.get("text", ())) == 1 else _no_cells
    for role, fault in (("text", no_text), ("label", (lambda column: "") if choices else _no_label)):
        faults = [
            f"column {name!r} cannot be the {role}: {why}"
            for name in named.get(role, ())
            if (why := fault(columns[name]))
        ]
        if faults:
            raise DataError("; ".join(faults))
    taken = {split, choices, *(name for names in named.values() for name in names)}
    free = {name: one for name, one in columns.items() if name not in taken}
    others: dict[str, tuple[str, ...]] = {}
    texts, label = named.get("text", ()), "".join(named.get("label", ()))
    if not texts:
        texts, others["text"] = _likely_text(free)
        if not texts:
            raise DataError(f"no column holds texts; found {_told(columns)}; name it with TEXT=")
    if not label:
        rest = {name: one for name, one in free.items() if name not in texts}
        label, others["label"] = _likely_label(rest, list(columns)[-1], any_values=bool(choices))
        if not label:
            raise DataError(
                f"no column holds labels, which come again in other rows; found {_told(columns)}; name it with LABEL="
            )
    left = {name: one for name, one in free.items() if name not in (*texts, label)}
    group = "".join(named.get("group", ())) or next((n for n, c in left.items() if _says_group(c, columns[label])), "")
    id = next((n for n, c in left.items() if n != group and _says_id(c)), "")
    text = texts if len(texts) > 1 else texts[0]
    return Roles(text, label, group, id, split, choices, {role: names for role, names in others.items() if names})


def _alone(said: str | Sequence[str], known: Mapping[str, Column]) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else tuple(said)


def _likely_text(columns: Mapping[str, Column]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The column that is most like texts, with another that is one text with it, and others that hold some."""
    fits = {name: _text_score(one) for name, one in columns.items() if not _no_text(one) and not _repeats(one)}
    best = _best(fits)[0]
    pair = text_pair({name: columns[name] for name in fits}, _NAMES)
    texts = pair if best in pair else tuple(filter(None, [best]))
    return texts, tuple(name for name in fits if name not in texts and _is_prose(columns[name]))


def _likely_label(columns: Mapping[str, Column], last: str, any_values: bool) -> tuple[str, tuple[str, ...]]:
    """The column that is most like labels, and others about as much; with ``any_values`` they need not come again."""
    scores = {
        name: _label_score(one, name == last)
        for name, one in columns.items()
        if any_values or not (_no_label(one) or _reads_like_text(one))
    }
    return _best({name: score for name, score in scores.items() if score > 0})


def header_is_a_row(columns: Mapping[str, Column]) -> bool:
    """Whether the names of a CSV file's columns are cells of a first row, and so no names.

    A name that is also a value of its own column's other rows, and no word that columns are called by; or a name that
    is a sentence or a number.
    """
    own = [_score_of_name(name, "text") + _score_of_name(name, "label") for name in columns]
    if any(own) or len(columns) < 2:
        return False
    again = [name for name, one in columns.items() if one.values.get(name.strip(), 0) >= 2]
    sentences = [name for name in columns if len(name.split()) > 5]
    numbers = [name for name in columns if re.fullmatch(r"-?\d+([.,]\d+)?", name.strip())]
    return bool(again or sentences or len(numbers) == len(columns))


def _score_of_name(name: str, role: str) -> float:
    """1.5 to 2 for a name that is known, less further down the list; 1 for one that has a known word in it; else 0."""
    known = _NAMES[role]
    plain = unicodedata.normalize("NFC", name).casefold().strip()
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
    if plain in known:
        return 2.0 - known.index(plain) / len(known) / 2
    # A sentence is no name.
    return 1.0 if len(words) <= 4 and any(word in known for word in words) else 0.0


def _no_cells(column: Column) -> str:
    return f"it holds {column.holds}" if column.kind in ("list", "other", "truth") or not column.n_filled else ""


def _no_text(column: Column) -> str:
    if why := _no_cells(column):
        return why
    if column.kind in ("number", "fraction"):
        return "it holds numbers"
    return "it holds dates or addresses" if column.n_dates * 2 > column.n_filled else ""


def _no_label(column: Column) -> str:
    if column.kind in ("list", "other") or not column.n_filled:
        return f"it holds {column.holds}; a row has one label"
    if column.n_distinct < 2:
        return f"all its {column.n_filled} cells hold {next(iter(column.values))!r}; two labels are needed"
    if column.n_distinct * 2 > column.n_filled:
        return f"it has {column.n_distinct} different values in {column.n_filled} rows; labels come again"
    if column.n_distinct > _MOST_LABELS:
        return f"it has {column.n_distinct} different values, more than the {_MOST_LABELS} that can be told apart"
    if column.kind == "fraction" and column.n_distinct > 20:
        return f"it holds measurements ({column.n_distinct} different numbers)"
    return ""


def _repeats(column: Column) -> bool:
    return column.share_distinct <= _LEAST_DISTINCT


def _is_prose(column: Column) -> bool:
    return column.n_words >= 3 and column.share_distinct >= 0.5


def _text_score(column: Column) -> float:
    score = min(column.n_words, 12) / 4 + column.share_distinct + 1.5 * _score_of_name(column.name, "text")
    is_code = column.n_words <= 1.05 and (_score_of_name(column.name, "id") or column.n_distinct == column.n_filled)
    return score - (4 if is_code and not _score_of_name(column.name, "text") else 0) - _emptiness(column)


def _reads_like_text(column: Column) -> bool:
    """Whether the values are sentences that happen to come again, which nobody would call a label unasked."""
    return column.n_words > _LABEL_WORDS and column.n_distinct * 10 > column.n_filled


def _label_score(column: Column, is_last: bool) -> float:
    """How like a label: above 0 where it may be one."""
    named = _score_of_name(column.name, "label")
    against = max(_score_of_name(column.name, role) for role in ("other", "id", "group"))
    score = 1.0 + 1.5 * named - (1.5 * against if not named else 0) - _emptiness(column)
    score += 0.3 * (column.kind == "text") - 0.5 * (column.kind == "fraction") + 0.2 * is_last
    score -= column.share_distinct + (column.n_characters > _LONG_LABEL)
    return score - (column.n_dates * 2 > column.n_filled)


def _emptiness(column: Column) -> float:
    return 2 * (1 - column.n_filled / max(column.n_rows, 1))


def _best(scores: Mapping[str, float]) -> tuple[str, tuple[str, ...]]:
    """The name with the highest score, and those that are about as good."""
    ranked = sorted(scores, key=lambda name: -scores[name])
    if not ranked:
        return "", ()
    return ranked[0], tuple(name for name in ranked[1:] if scores[ranked[0]] - scores[name] < _CLOSE)


def _says_split(column: Column) -> bool:
    splits = {split_word(value) for value in column.values}
    return column.n_distinct <= 6 and "" not in splits and {"train", "test"} <= splits


def _is_choices(column: Column) -> bool:
    if column.name.casefold() not in _NAMES["choices"] or column.kind not in ("list", "text"):
        return False
    try:
        return all(len(choices_cell(value) or ()) > 1 for value in list(column.values)[:20])
    except DataError:
        return False


def _says_group(column: Column, label: Column) -> bool:
    """Called like a group, and its rows come several together in many groups: otherwise nothing could be dealt."""
    named = _score_of_name(column.name, "group")
    return named > 0 and column.kind != "list" and max(20, 3 * label.n_distinct) <= column.n_distinct < column.n_filled


def _says_id(column: Column) -> bool:
    unique = column.n_distinct == column.n_filled == column.n_rows
    return unique and column.n_words <= 1.05 and _score_of_name(column.name, "id") > 0 and column.kind != "list"


def _named(columns: Mapping[str, Column]) -> str:
    return listed([repr(name) for name in columns], 20)


def _told(columns: Mapping[str, Column]) -> str:
    """Columns with what is in them, for a refusal."""
    told = [
        f"{one.name!r} ({one.n_distinct} different values in {one.n_filled} rows"
        + (f", {one.n_words:.0f} words each)" if one.n_words >= 2 and one.kind == "text" else f", {one.holds})")
        for one in columns.values()
    ]
    return listed(told, _SHOWN) or "no other column"
