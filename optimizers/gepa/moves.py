"""Plans of an instruction, and the moves that change them in view of the rows that were just answered.

A move is a small, blind variation; whether it helped is for the search to say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from optimizers.gepa.evidence import Evidence

WordLayout = Literal["line", "cue"]
ExampleLayout = Literal["message", "bare", "arrow"]


@dataclass(frozen=True)
class Plan:
    """What an instruction says, apart from how it is laid out.

    Attributes
    ----------
    opening : str
        Everything that is none of the below.
    words : tuple of (label name, terms)
    notes : tuple of str
        Contrasts and restrictions, one sentence a line.
    examples : tuple of (text, label name)
    """

    opening: str
    words: tuple[tuple[str, tuple[str, ...]], ...] = ()
    notes: tuple[str, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    word_layout: WordLayout = "line"
    example_layout: ExampleLayout = "message"


@dataclass(frozen=True)
class Findings:
    """What the rows just answered show.

    Attributes
    ----------
    missed : tuple of str
        Labels whose rows were answered otherwise, most missed first.
    overused : tuple of str
        Labels answered more often than they are right, most overused first.
    confused : tuple of (gold, answered)
        Most frequent first.
    """

    missed: tuple[str, ...]
    overused: tuple[str, ...]
    confused: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Material:
    """What moves draw on.

    Attributes
    ----------
    names : tuple of str
        Labels, in label order.
    answer_of : mapping
        Label name -> what the model writes for it.
    openings : tuple of str
        First sentences to choose from.
    """

    names: tuple[str, ...]
    answer_of: Mapping[str, str]
    evidence: Evidence
    openings: tuple[str, ...]


Move = Callable[[Material, Plan, Findings, random.Random], Plan]


def _show_missed(material: Material, plan: Plan, findings: Findings, rng: random.Random) -> Plan:
    """An example each for some missed labels, last, where a small model looks first; none for overused ones."""
    kept = tuple(one for one in plan.examples if one[1] not in findings.overused[:2])
    labels = list(findings.missed[: rng.choice((2, 4, 8))])
    rng.shuffle(labels)
    return _with_examples(material, replace(plan, examples=kept), labels, rng)


def _show_many(material: Material, plan: Plan, findings: Findings, rng: random.Random) -> Plan:
    """Examples afresh, one each for a random part of the labels, overused ones left out."""
    labels = [name for name in material.names if name not in findings.overused[:2]]
    labels = rng.sample(labels, min(len(labels), rng.choice((4, 8, 12, 24))))
    layout: ExampleLayout = rng.choice(("message", "message", "bare", "arrow"))
    return _with_examples(material, replace(plan, examples=(), example_layout=layout), labels, rng)


def _name_words(material: Material, plan: Plan, findings: Findings, rng: random.Random) -> Plan:
    """Words for missed labels, or for all but the overused."""
    n_terms = rng.choice((2, 3, 4, 6))
    every = [name for name in material.names if name not in findings.overused[:2]]
    labels = rng.choice((every, list(findings.missed)))
    words = dict(plan.words)
    for name in labels:
        strong = material.evidence.terms[name][: n_terms + 2]
        chosen = sorted(rng.sample(strong, min(n_terms, len(strong))), key=strong.index)
        if chosen:
            words.pop(name, None)
            words[name] = tuple(chosen)
    return replace(plan, words=tuple(words.items()))


def _quiet_overused(material: Material, plan: Plan, findings: Findings, rng: random.Random) -> Plan:
    """Take out what speaks for overused labels."""
    overused = findings.overused[: rng.choice((1, 2, 4))]
    return replace(
        plan,
        words=tuple((name, terms) for name, terms in plan.words if name not in overused),
        examples=tuple(one for one in plan.examples if one[1] not in overused),
    )


def _contrast(material: Material, plan: Plan, findings: Findings, rng: random.Random) -> Plan:
    """Sentences that part labels which were just confused, or restrict an overused one."""
    notes = list(plan.notes)
    for gold, answered in findings.confused[:6]:
        terms = material.evidence.contrast(gold, answered)
        if terms and rng.random() < 0.4:
            choose = f"choose {material.answer_of[gold]}, not {material.answer_of[answered]}."
            notes.append(f"If it mentions {' or '.join(terms)}, {choose}")
    for name in findings.overused[:1]:
        terms = material.evidence.terms[name][:4]
        if terms and rng.random() < 0.4:
            notes.append(f"Choose {material.answer_of[name]} only for {', '.join(terms)}.")
    return replace(plan, notes=tuple(dict.fromkeys(notes))[-6:])


def _drop(material: Material, plan: Plan, findings: Findings, rng: random.Random) -> Plan:
    """Leave out one kind of evidence, or a random third of the examples."""
    part = rng.choice(("words", "notes", "examples", "some"))
    if part == "some":
        return replace(plan, examples=tuple(one for one in plan.examples if rng.random() > 1 / 3))
    emptied: dict[str, Any] = {part: ()}
    return replace(plan, **emptied)


def _rearrange(material: Material, plan: Plan, findings: Findings, rng: random.Random) -> Plan:
    """Another order or another layout of the same evidence."""
    words, examples = list(plan.words), list(plan.examples)
    rng.shuffle(words)
    rng.shuffle(examples)
    return replace(
        plan,
        words=tuple(words),
        examples=tuple(examples),
        word_layout=rng.choice(("line", "cue")),
        example_layout=rng.choice(("message", "bare", "arrow")),
    )


def _reopen(material: Material, plan: Plan, findings: Findings, rng: random.Random) -> Plan:
    """Another opening sentence."""
    return replace(plan, opening=rng.choice(material.openings))


def _with_examples(material: Material, plan: Plan, labels: Sequence[str], rng: random.Random) -> Plan:
    """One more example for each label, one that is not shown yet."""
    examples = list(plan.examples)
    for name in labels:
        fresh = [text for text in material.evidence.examples[name] if (text, name) not in examples]
        if fresh:
            examples.append((rng.choice(fresh[:4]), name))
    return replace(plan, examples=tuple(examples))


# How often each move is tried; an instruction without evidence gets some first.
FIRST_MOVES: dict[Move, float] = {_show_many: 3, _show_missed: 3, _name_words: 2}
MOVES: dict[Move, float] = {
    _show_missed: 4, _show_many: 2, _name_words: 2, _quiet_overused: 2, _contrast: 1, _drop: 1.5, _rearrange: 1.5,
    _reopen: 1,
}  # fmt: skip
