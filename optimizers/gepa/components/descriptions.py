"""The offline proposer of label descriptions: words and short rows that speak for a label, none asked.

A description is, after some moves, what the recipe says of the label, a list of words that tell it apart, or a typical
row. As with instructions (``optimizers.gepa.moves``) moves are blind, and whether one helped is for the search to say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optimizers.gepa.moves import Findings
from optimizers.gepa.proposer import EvidenceProposer
from programs.descriptions import read_descriptions, write_descriptions

Descriptions = dict[str, str]
_SUCH_AS = "such as "


class DescriptionProposer:
    """Proposes descriptions; called as ``EvidenceProposer`` is, whose evidence and findings it uses."""

    def __init__(self, instructions: EvidenceProposer) -> None:
        self.instructions = instructions
        self.evidence, self.names = instructions.material.evidence, instructions.material.names
        self.own = {label.name: label.description for label in instructions.labels}

    def __call__(
        self, text: str, reflective_rows: Sequence[Mapping[str, Any]], rng: random.Random, token_budget: int
    ) -> str:
        """Other descriptions, of at most ``token_budget`` tokens.

        Raises
        ------
        ValueError
            If nothing else fits into the budget.
        """
        now, findings = self._read(text), self.instructions.findings(reflective_rows)
        for _ in range(30):
            changed = dict(now)
            for _ in range(rng.choice((1, 1, 2))):
                rng.choice(self._moves(changed))(changed, findings, rng)
            written = self._write(self._fit(changed, token_budget))
            if written != self._write(now):
                return written
        raise ValueError(f"no other descriptions fit into {token_budget} tokens: raise token_budget")

    def _moves(self, now: Descriptions) -> list[Callable[[Descriptions, Findings, random.Random], None]]:
        described = any(now.values())
        return [self._describe_missed, self._describe, self._part, *((self._quiet, self._restore) if described else ())]

    def _describe_missed(self, now: Descriptions, findings: Findings, rng: random.Random) -> None:
        """Words or a row for some labels whose rows were answered otherwise."""
        for name in findings.missed[: rng.choice((2, 4, 8))]:
            now[name] = self._said(name, rng) or now[name]

    def _describe(self, now: Descriptions, findings: Findings, rng: random.Random) -> None:
        """The same for a random part of the labels, those left out that are answered too often."""
        labels = [name for name in self.names if name not in findings.overused[:2]]
        for name in rng.sample(labels, min(len(labels), rng.choice((4, 8, 24)))):
            now[name] = self._said(name, rng) or now[name]

    def _part(self, now: Descriptions, findings: Findings, rng: random.Random) -> None:
        """Words that part labels which were just confused."""
        for gold, answered in findings.confused[: rng.choice((1, 3, 6))]:
            if terms := self.evidence.contrast(gold, answered, rng.choice((2, 3, 4))):
                now[gold] = ", ".join(terms)

    def _quiet(self, now: Descriptions, findings: Findings, rng: random.Random) -> None:
        """Nothing of labels that are answered too often, or of a random third."""
        some = [name for name in self.names if rng.random() < 1 / 3]
        now.update(dict.fromkeys(rng.choice((findings.overused[:4] or some, some)), ""))

    def _restore(self, now: Descriptions, findings: Findings, rng: random.Random) -> None:
        """What the recipe says of a random half."""
        now.update({name: own for name, own in self.own.items() if rng.random() < 0.5})

    def _said(self, name: str, rng: random.Random) -> str:
        terms, rows = self.evidence.terms[name], self.evidence.examples[name]
        if rows and (not terms or rng.random() < 0.25):
            return f'{_SUCH_AS}"{rng.choice(rows[:4])}"'
        strong = terms[: rng.choice((2, 3, 4, 6)) + 2]
        return ", ".join(sorted(rng.sample(strong, max(len(strong) - 2, min(len(strong), 1))), key=strong.index))

    def _fit(self, now: Descriptions, token_budget: int) -> Descriptions:
        """The longest description loses its last word, or all of it where it is no list of words, until all fit."""
        count = self.instructions.count_tokens
        while any(now.values()) and count("\n".join(filter(None, now.values()))) > token_budget:
            longest = max(self.names, key=lambda name: count(now[name]))
            is_list = now[longest] != self.own[longest] and not now[longest].startswith(_SUCH_AS)
            now[longest] = now[longest].rpartition(", ")[0] if is_list else ""
        return now

    def _read(self, text: str) -> Descriptions:
        return dict.fromkeys(self.names, "") | read_descriptions(text, self.names)

    def _write(self, now: Descriptions) -> str:
        return write_descriptions([type(label)(label.name, now[label.name]) for label in self.instructions.labels])
