"""The cell that holds a row's own choices, in the forms that datasets have for it. Knows nothing of letters."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from labelwright.data.records import checked_text, is_missing
from labelwright.errors import DataError


def choices_cell(value: Any, where: str = "") -> tuple[str, ...] | None:
    """A row's own answers, in any of the forms of ``choices_and_marks``; None where there are none."""
    try:
        found = choices_and_marks(value)
    except DataError as error:
        raise DataError(f"{where}: {error}" if where else str(error)) from error
    return found and found[0]


def choices_and_marks(value: Any) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """A row's own answers, and what the row calls them ("A", "1"), empty where it does not.

    Parameters
    ----------
    value : list, mapping or str
        ``["yes", "no"]``; ``{"text": ["yes", "no"], "label": ["A", "B"]}`` as in ARC; ``[{"label": "A", "text": "yes"},
        …]``; ``{"A": "yes", "B": "no"}``; or one of these in a cell as JSON, or as Python writes it.

    Raises
    ------
    DataError
        Something else.
    """
    if isinstance(value, str):
        value = _parsed(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or value == "":
        return None
    if isinstance(value, Mapping):
        texts, marks = (value["text"], value.get("label", ())) if "text" in value else (value.values(), value)
    elif isinstance(value, list | tuple) and value and all(isinstance(one, Mapping) and "text" in one for one in value):
        texts, marks = [one["text"] for one in value], [one["label"] for one in value if "label" in one]
    else:
        texts, marks = value, ()
    texts, marks = (one.tolist() if hasattr(one, "tolist") else one for one in (texts, marks))
    if (
        isinstance(texts, str | bytes | set | frozenset)  # a set has no order: which is A would be chance
        or not isinstance(texts, Iterable)
        or any(isinstance(one, list | Mapping) for one in texts)
    ):
        raise DataError('the choices are not a list; expected one such as ["yes", "no"]')
    if marks is not None and (isinstance(marks, str) or not isinstance(marks, Iterable)):
        raise DataError(f"the choices' labels are a {type(marks).__name__}; expected a list with one for each choice")
    choices = tuple("" if is_missing(one) else checked_text(str(one), "choice") for one in texts)
    names = tuple(str(one).strip() for one in marks or ())
    if names and len(names) != len(choices):
        raise DataError(f"{len(choices)} choices have {len(names)} labels; give each one")
    return choices, names


def _parsed(text: str) -> Any:
    """A cell as JSON or as Python writes lists, which is what data frames put into CSV; itself where it is neither."""
    if not text.strip():
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return 0  # no list: refused with the right words


def marked_texts(
    labels: Sequence[str], choices: Sequence[Sequence[str]], marks: Sequence[Sequence[str]], source: str
) -> list[str]:
    """Labels as texts of choices where they are the rows' own marks of them, and as they are where they are not.

    Raises
    ------
    DataError
        If all labels can be read as marks and as texts, and mean different choices.
    """
    if not any(marks):
        return list(labels)
    texts = [_text_of(*row) for row in zip(labels, choices, marks, strict=True)]
    n_marked = sum(text is not None for text in texts)
    as_text = sum(label in row for label, row in zip(labels, choices, strict=True))
    if n_marked == as_text == len(labels) and texts != list(labels):
        raise DataError(
            f"{source}: every label is the name of one choice and the text of another; give the choices as a plain list"
        )
    if n_marked < as_text:
        return list(labels)
    return [label if text is None else text for label, text in zip(labels, texts, strict=True)]


def _text_of(label: str, choices: Sequence[str], marks: Sequence[str]) -> str | None:
    return choices[marks.index(label)] if label in marks else None
