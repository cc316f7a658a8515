"""What the train rows say about the labels: words that tell a label apart, and short typical rows.

Pure functions of the rows; ``proposer.py`` turns them into instructions.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from labelwright.data.task import Example, group_keys
from labelwright.pictures.imaged import words_of as without_image

# A term that is this common in other labels, relative to its best label, counts as present there.
_PRESENT = 0.25
# A term present in more than this share of the labels says nothing about any one of them.
_SPREAD = 0.3
_EXAMPLE_WORDS = (3, 16)


@dataclass(frozen=True)
class Evidence:
    """Evidence about every label, strongest first.

    Attributes
    ----------
    terms : mapping
        Label -> words and word pairs, by falling z-score.
    examples : mapping
        Label -> short typical rows, no two from one group.
    """

    terms: Mapping[str, tuple[str, ...]]
    examples: Mapping[str, tuple[str, ...]]

    @classmethod
    def from_rows(
        cls, rows: Sequence[Example], names: Sequence[str], n_terms: int = 16, n_examples: int = 8
    ) -> Evidence:
        """Gather evidence from train rows.

        Parameters
        ----------
        names : sequence of str
            The labels, in label order; one without rows gets no evidence.
        """
        rows = _without_images(rows)
        scores = term_scores(rows, names)
        return cls(
            {name: _best_terms(scores[name], n_terms) for name in names},
            {
                name: _best_examples([row for row in rows if row.label == name], scores[name], n_examples)
                for name in names
            },
        )

    @classmethod
    def from_choices(cls, rows: Sequence[Example], names: Sequence[str], n_examples: int = 8) -> Evidence:
        """Evidence of rows that bring their own choices: no words, and short rows as examples, each on one line."""
        short = sorted(_without_images(rows), key=lambda row: (len(row.text.split()), row.id))
        examples: dict[str, list[str]] = {name: [] for name in names}
        for row in short:
            if len(examples[row.label]) < n_examples:
                examples[row.label].append(" ".join(row.text.split()))
        return cls(dict.fromkeys(names, ()), {name: tuple(texts) for name, texts in examples.items()})

    def contrast(self, gold: str, other: str, n_terms: int = 3) -> tuple[str, ...]:
        """Terms that speak for ``gold`` and not for ``other``."""
        theirs = {word for term in self.terms[other] for word in term.split()}
        return tuple(term for term in self.terms[gold] if not theirs & set(term.split()))[:n_terms]


def _without_images(rows: Sequence[Example]) -> list[Example]:
    """The hash of an image is no word."""
    return [replace(row, text=without_image(row.text)) for row in rows]


def words_of(text: str) -> list[str]:
    """Lower-case words of two letters and more, apostrophes kept.

    >>> words_of("The A/C isn't 2 cold")
    ['the', "isn't", 'cold']
    """
    return re.findall(r"[^\W\d_][^\W\d_'’]*(?:['’]?[^\W\d_])+", text.lower())


def term_scores(rows: Sequence[Example], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """z-scores of the log-odds ratio of each term in a label against all other labels, informative Dirichlet prior.

    Monroe, Colaresi and Quinn, "Fightin' Words" (2008), equations 16 and 22. A term is counted once a row, so that a
    row that repeats itself has one vote. The prior is the term's share in all rows, as strong as an average label.

    Returns
    -------
    dict
        Label -> term -> z-score, for terms that occur in two groups of the label (one, where it has few groups).
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    n_rows = Counter(row.label for row in rows)
    groups: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in names}
    for row, group in zip(rows, group_keys(rows), strict=True):
        counts[row.label].update(_terms(row.text))
        for term in _terms(row.text):
            groups[row.label][term].add(group)
    everywhere: Counter[str] = sum(counts.values(), Counter())
    total = everywhere.total()
    prior_strength = total / max(len(names), 1)
    common = _common_terms(counts, n_rows)
    scores: dict[str, dict[str, float]] = {}
    for name in names:
        n_here = counts[name].total()
        # Paraphrases share words that say nothing about the label: one family is not evidence.
        least = 2 if len(set().union(*groups[name].values())) >= 6 else 1
        scores[name] = {}
        for term, here in counts[name].items():
            if len(groups[name][term]) < least or common & {term, *term.split()}:
                continue
            prior = prior_strength * everywhere[term] / total
            there, n_there = everywhere[term] - here, total - n_here
            log_odds = np.log((here + prior) / (n_here + prior_strength - here - prior))
            log_odds -= np.log((there + prior) / (n_there + prior_strength - there - prior))
            scores[name][term] = float(log_odds / np.sqrt(1 / (here + prior) + 1 / (there + prior)))
    return scores


def _terms(text: str) -> set[str]:
    words = words_of(text)
    return {*words, *(f"{a} {b}" for a, b in pairwise(words))}


def _common_terms(counts: Mapping[str, Counter[str]], n_rows: Mapping[str, int]) -> set[str]:
    """Function words, found by their spread over labels rather than from a list for one language."""
    rates: dict[str, list[float]] = defaultdict(list)
    for name, counter in counts.items():
        for term, n in counter.items():
            rates[term].append(n / n_rows[name])
    most = max(1, int(_SPREAD * len(counts)))
    return {term for term, seen in rates.items() if sum(rate >= _PRESENT * max(seen) for rate in seen) > most}


def _best_terms(scores: Mapping[str, float], n_terms: int) -> tuple[str, ...]:
    """The highest terms; a pair and its words are not both taken."""
    chosen: list[str] = []
    taken: set[str] = set()
    for term in sorted(scores, key=lambda term: (-scores[term], term)):
        if not taken & set(term.split()) and scores[term] > 0:
            chosen.append(term)
            taken |= set(term.split())
        if len(chosen) == n_terms:
            break
    return tuple(chosen)


def _best_examples(rows: Sequence[Example], scores: Mapping[str, float], n_examples: int) -> tuple[str, ...]:
    """Short rows dense in the label's terms, one a group."""
    shortest, longest = _EXAMPLE_WORDS

    def density(row: Example) -> tuple[bool, float, str]:
        n_words = len(row.text.split())
        gain = sum(max(scores.get(term, 0.0), 0.0) for term in _terms(row.text))
        # The length added to the divisor keeps three-word fragments from winning on density alone.
        return shortest <= n_words <= longest, gain / (n_words + 6), row.id

    chosen: list[str] = []
    groups: set[str] = set()
    densest = sorted(rows, key=density, reverse=True)
    for row, group in zip(densest, group_keys(densest), strict=True):
        if "\n" in row.text or group in groups:
            continue
        groups.add(group)
        chosen.append(row.text)
        if len(chosen) == n_examples:
            break
    return tuple(chosen)
