"""What is worth knowing of rows before anything is trained on them, counted and named.

All of it is found with what the recipes' own reader uses (``label_key``, ``conflicting_rows``, ``family_keys``), so
that what is said here is what a run does.
"""

from __future__ import annotations

import csv
import io
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from unicodedata import normalize

from labelwright.data.families import families_of
from labelwright.data.records import listed
from labelwright.data.spelling import Source, label_key, reconcile, text_key
from labelwright.data.task import Example, conflicting_rows
from labelwright.plain_text import spreadsheet_cell
from workbench.recipe.splits import SIDES

# Letters that a piece of a word has, roughly, in an encoder's vocabulary.
_LETTERS_A_TOKEN = 4
_SHOWN = 8
# Texts whose language is guessed. One short text is often taken for a neighbouring language: one that fewer texts than
# this share are taken for is more likely a mistake than a language.
_SAMPLE = 300
_LEAST_SHARE = 0.15


@dataclass(frozen=True)
class Findings:
    """Numbers of rows that will be dealt, and of a test split where one is given.

    Attributes
    ----------
    counts : mapping of str to int
        Rows by label, of those that will be dealt.
    families : mapping of str to int
        Independent rows by label: those that must not be parted count once.
    n_groups, n_near : int
        Groups that a column names, and rows that say much the same as an earlier one.
    conflicting : tuple of tuple of int
        Places of the rows of each text that has several labels.
    spellings : tuple of tuple of str
        Labels that differ only in how they are written, together.
    untaught : mapping of str to int
        Test rows of labels that no other row has.
    unlearnable : tuple of str
        Labels with too few rows to be learnt and measured, without rows whose text has several labels, or that a test
        split has as well.
    n_tokens, longest : int
        Of a text, roughly: the median and the most.
    languages : mapping of str to float
    """

    n_rows: int
    n_test: int
    counts: Mapping[str, int]
    families: Mapping[str, int]
    n_groups: int = 0
    n_near: int = 0
    conflicting: tuple[tuple[int, ...], ...] = ()
    spellings: tuple[tuple[str, ...], ...] = ()
    untaught: Mapping[str, int] = field(default_factory=dict)
    unlearnable: tuple[str, ...] = ()
    n_tokens: int = 0
    longest: int = 0
    languages: Mapping[str, float] = field(default_factory=dict)

    @property
    def rare(self) -> list[str]:
        """Labels with fewer independent rows than there are sides to stand on, those with fewest first."""
        sides = len(SIDES) - bool(self.n_test)
        few = [label for label in self.counts if self.families[label] < sides]
        return sorted(few, key=lambda label: (self.families[label], label))

    @property
    def numbered(self) -> bool:
        """Whether labels are numbers, which say nothing to a model."""
        return all(re.fullmatch(r"[+-]?\d+([.,]\d+)?", label) for label in self.counts)


def look(rows: Sequence[Example], test: Sequence[Example] = ()) -> Findings:
    """What there is to say of rows, and of a test split that is given.

    Labels that differ only in how they are written are named, and count as one from there on.
    """
    written = [Source("rows", Counter(row.label for row in rows)), Source("test", Counter(row.label for row in test))]
    spelt: dict[str, dict[str, None]] = defaultdict(dict)
    for source in written:
        for label in source.counts:
            spelt[label_key(label)][label] = None
    merged = reconcile(written, "merge")
    rows = [replace(row, label=merged[row.label]) for row in rows]
    counts = Counter(row.label for row in rows)
    families = families_of(rows)
    conflicting = conflicting_rows(rows)
    lost = {i for same in conflicting for i in same}
    in_test = {text_key(row.text) for row in test}
    left = Counter(row.label for i, row in enumerate(rows) if i not in lost and text_key(row.text) not in in_test)
    lengths = [n_tokens(row.text) for row in rows]
    return Findings(
        n_rows=len(rows),
        n_test=len(test),
        counts=counts,
        families=Counter(label for family in families for label in {rows[i].label for i in family}),
        n_groups=len({row.group for row in rows} - {None}),
        n_near=len(rows) - len(families_of([replace(row, group=None) for row in rows])),
        conflicting=tuple(map(tuple, conflicting)),
        spellings=tuple(tuple(labels) for labels in spelt.values() if len(labels) > 1),
        untaught=Counter(merged[row.label] for row in test if merged[row.label] not in counts),
        unlearnable=tuple(label for label in counts if left[label] < (1 if test else 2)),
        n_tokens=round(median(lengths)) if lengths else 0,
        longest=max((*lengths, *(n_tokens(row.text) for row in test)), default=0),
        languages=languages([row.text for row in rows]),
    )


def n_tokens(text: str) -> int:
    """Tokens of a text, roughly: a word has one for each four letters begun, every other sign is one."""
    words = re.findall(r"[^\W_]+|[^\w\s]|_", text)
    return sum(len(word) if ord(word[0]) > 0x2E80 else math.ceil(len(word) / _LETTERS_A_TOKEN) for word in words)


def sentences(found: Findings, given_test: str = "") -> list[str]:
    """What was found, a sentence each; nothing of what is as it should be."""
    said = [_labels(found)]
    if found.n_groups:
        said.append(f"{found.n_groups} groups, none of which is parted by the splits")
    if found.n_near:
        said.append(f"rows that say much the same as another one, and stay on its side of every split: {found.n_near}")
    if found.conflicting:
        n = sum(map(len, found.conflicting))
        said.append(f"texts with several labels: {len(found.conflicting)}, in {n} rows")
    for labels in found.spellings[:_SHOWN]:
        # Two Unicode forms of a letter look the same.
        show = repr if len({normalize("NFC", label) for label in labels}) == len(labels) else ascii
        said.append(f"labels that differ only in how they are written: {listed(map(show, labels))}")
    if len(found.spellings) > _SHOWN:
        said.append(f"so do {len(found.spellings) - _SHOWN} more")
    if rare := found.rare:
        sides = len(SIDES) - bool(found.n_test)
        lacking = sum(sides - found.families[label] for label in rare)
        named = listed((f"{label!r} ({found.families[label]})" for label in rare), _SHOWN)
        said.append(
            f"labels with fewer than {sides} independent rows, one a side: {named}; add {lacking} rows in all, or join "
            f"these labels with others"
        )
    if found.untaught:
        named = listed((f"{label!r} ({n})" for label, n in found.untaught.items()), _SHOWN)
        said.append(f"labels that only {given_test} has rows of: {named}")
    said.append(f"a text has about {found.n_tokens} tokens, the longest {found.longest}")
    if found.languages:
        named = ", ".join(f"{code} {share:.0%}" for code, share in found.languages.items())
        said.append(f"language, by py3langid on a sample: {named}")
    return said


def conflicts_csv(rows: Sequence[Example], found: Findings) -> str:
    """All rows whose text has several labels, one text after the other, to be mended by hand.

    What a spreadsheet would take for a formula has an apostrophe before it, as spreadsheets themselves mark texts.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["text_number", "row", "text", "label"])
    for number, same in enumerate(found.conflicting, start=1):
        writer.writerows([number, *map(spreadsheet_cell, (rows[i].id, rows[i].text, rows[i].label))] for i in same)
    return out.getvalue()


def _labels(found: Findings) -> str:
    ranked = Counter(found.counts).most_common()
    most, least = ranked[0], ranked[-1]
    if len(ranked) <= _SHOWN:
        rows = ", ".join(f"{label!r} {n}" for label, n in ranked)
    else:
        rows = f"from {least[1]} rows ({least[0]!r}) to {most[1]} ({most[0]!r})"
    test = f" and {found.n_test} test rows" if found.n_test else ""
    return f"{found.n_rows} rows{test}, {len(ranked)} labels: {rows}"


def languages(texts: Sequence[str]) -> dict[str, float]:
    """ISO 639-1 codes by share of the texts (py3langid's answers to a sample), largest first, without rare ones."""
    from py3langid.langid import classify

    drawn = random.Random(0).sample(list(texts), min(_SAMPLE, len(texts)))
    found = Counter(classify(text)[0] for text in drawn)
    # All texts together are long enough to be sure of; short ones alone are not.
    together = classify("\n".join(drawn))[0] if drawn else ""
    shares = {code: n / len(drawn) for code, n in found.most_common() if n / len(drawn) >= _LEAST_SHARE}
    if together and together not in shares:
        shares = {together: found[together] / len(drawn), **shares}
    return shares


def is_english(shares: Mapping[str, float]) -> bool:
    """Whether nothing else than English was found worth a word."""
    return list(shares) == ["en"]
