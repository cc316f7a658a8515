"""The offline instruction proposer: new instructions from evidence in the train rows, no language model asked.

An instruction is read as a plan (opening, words, notes, examples), a few random moves change the plan in view of the
rows that were just answered, and the plan is written down again under a token budget. Plans are read back from the text
itself, so nothing has to be remembered between proposals. GEPA's search keeps what works.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from labelwright.data.families import family_names
from labelwright.data.task import Example
from labelwright.prompt import Prompt
from optimizers.gepa.evidence import Evidence
from optimizers.gepa.moves import FIRST_MOVES, MOVES, ExampleLayout, Findings, Material, Plan

_NOTE = re.compile(r"If it mentions .+, choose .+, not .+\.|Choose .+ only for .+\.")
# Where rows bring their own choices there is nothing to say about a letter; how the question is put still counts.
CHOICE_OPENINGS = (
    "Choose the right answer.",
    "Answer the multiple choice question with the letter of the best choice.",
    "Read the question and all choices. Only one choice is right: answer with its letter.",
    "Which choice completes the sentence or answers the question best? Think of what is true in everyday science.",
    "You are good at science. Pick the one choice that is true.",
)
_ABOUT, _MESSAGE = "About: ", "Message: "


class EvidenceProposer:
    """Proposes instructions.

    Parameters
    ----------
    rows : sequence of Example
        The train rows to take evidence from.
    prompt : Prompt
        Gives labels, answers, cue and the opening that openings vary.
    count_tokens : callable
    judges : sequence of Example
        More train rows, whose answers are looked at and which give no evidence.
    """

    def __init__(
        self,
        rows: Sequence[Example],
        prompt: Prompt,
        count_tokens: Callable[[str], int],
        judges: Sequence[Example] = (),
    ) -> None:
        names = tuple(label.name for label in prompt.labels)
        self.labels = prompt.labels
        self.gold = {row.text: row.label for row in (*rows, *judges)}
        self.answer_of = dict(zip(names, prompt.answers, strict=True))
        self.name_of = {answer: name for name, answer in self.answer_of.items()}
        # What stands between cue and answer where the prompt itself shows examples: a space, or nothing.
        self.cue = prompt.cue + prompt.options[0].removesuffix(prompt.answers[0])
        self.count_tokens = count_tokens
        opening = self.read(prompt.instructions).opening
        if not prompt.lists_labels:
            evidence = Evidence.from_choices(rows, names)
            self.material = Material(names, self.answer_of, evidence, (opening, *CHOICE_OPENINGS))
            return
        openings = (opening, f"{opening} Pick the most specific label.", f"{opening} Many labels are in use.",
                         "Which label fits the message?")  # fmt: skip
        read = [replace(row, text=prompt.read_of(row.text)) for row in rows] if prompt.points else rows
        self.material = Material(names, self.answer_of, Evidence.from_rows(read, names), openings)

    def __call__(
        self, instruction: str, reflective_rows: Sequence[Mapping[str, Any]], rng: random.Random, token_budget: int
    ) -> str:
        """A new instruction.

        Parameters
        ----------
        instruction : str
            The one to change.
        reflective_rows : sequence of mapping
            GEPA's reflective dataset for one component: ``Inputs``, ``Generated Outputs``, ``Feedback``.
        rng : random.Random
            The same state gives the same proposal.
        token_budget : int
            Most tokens that it may have.

        Raises
        ------
        ValueError
            If not even another opening fits into the budget.
        """
        plan, findings = self.read(instruction), self.findings(reflective_rows)
        for _ in range(30):
            changed = plan
            for _ in range(rng.choice((1, 2, 2, 3))):
                moves = MOVES if changed.words or changed.examples or changed.notes else FIRST_MOVES
                (move,) = rng.choices(list(moves), weights=list(moves.values()))
                changed = move(self.material, changed, findings, rng)
            text = self.write(self._fit(changed, token_budget))
            if self._is_usable(text, instruction, token_budget):
                return text
        # Nothing fits beside what is there: an opening alone, so that a small budget is not a dead end.
        for opening in rng.sample(self.material.openings, len(self.material.openings)):
            if self._is_usable(opening, instruction, token_budget):
                return opening
        raise ValueError(f"not even another opening fits into {token_budget} tokens: raise token_budget")

    def _is_usable(self, text: str, instruction: str, budget: int) -> bool:
        return text != instruction and self.count_tokens(text) <= budget

    def findings(self, reflective_rows: Sequence[Mapping[str, Any]]) -> Findings:
        """Compare answers with the gold labels of the train rows."""
        missed: Counter[str] = Counter()
        surplus: Counter[str] = Counter()
        confused: Counter[tuple[str, str]] = Counter()
        for row in reflective_rows:
            gold = self.gold.get(row["Inputs"]["text"])
            outputs = row["Generated Outputs"]
            answered = str(outputs.get("label")) if isinstance(outputs, Mapping) else ""
            if gold is None or gold == answered:
                continue
            missed[gold] += 1
            surplus[gold] -= 1
            if answered in self.answer_of:
                surplus[answered] += 1
                confused[gold, answered] += 1
        return Findings(
            tuple(name for name, _ in missed.most_common()),
            tuple(name for name, n in surplus.most_common() if n > 0),
            tuple(pair for pair, _ in confused.most_common()),
        )

    def write(self, plan: Plan) -> str:
        """The instruction that a plan stands for; ``read`` is its inverse."""
        answer = self.answer_of
        words = [
            f"{answer[name]}: {', '.join(terms)}"
            if plan.word_layout == "line"
            else f"{_ABOUT}{', '.join(terms)}\n{self.cue}{answer[name]}"
            for name, terms in plan.words
        ]
        patterns = {
            "message": f"{_MESSAGE}{{}}\n{self.cue}{{}}",
            "bare": f"{{}}\n{self.cue}{{}}",
            "arrow": "{} -> {}",
        }
        examples = [patterns[plan.example_layout].format(text, answer[name]) for text, name in plan.examples]
        blocks = (plan.opening, "\n".join(words), "\n".join(plan.notes), "\n".join(examples))
        return "\n\n".join(block for block in blocks if block)

    def read(self, instruction: str) -> Plan:
        """The plan behind an instruction; lines that no move writes belong to the opening."""
        plan = Plan("")
        opening: list[str] = []
        lines = instruction.strip().splitlines()
        while lines:
            line = lines.pop(0)
            label = self._cued(lines[0]) if lines else None
            start, _, rest = line.partition(": ")
            text, _, end = line.rpartition(" -> ")
            if label is not None:
                lines.pop(0)
                if line.startswith(_ABOUT):
                    terms = tuple(line.removeprefix(_ABOUT).split(", "))
                    plan = replace(plan, words=(*plan.words, (label, terms)), word_layout="cue")
                else:
                    layout: ExampleLayout = "message" if line.startswith(_MESSAGE) else "bare"
                    shown = (line.removeprefix(_MESSAGE), label)
                    plan = replace(plan, examples=(*plan.examples, shown), example_layout=layout)
            elif text and end in self.name_of:
                shown = (text, self.name_of[end])
                plan = replace(plan, examples=(*plan.examples, shown), example_layout="arrow")
            elif rest and start in self.name_of:
                plan = replace(plan, words=(*plan.words, (self.name_of[start], tuple(rest.split(", ")))))
            elif _NOTE.fullmatch(line):
                plan = replace(plan, notes=(*plan.notes, line))
            else:
                opening.append(line)
        return replace(plan, opening="\n".join(opening).strip())

    def _cued(self, line: str) -> str | None:
        """The label of a line such as "Label: pool"."""
        return self.name_of.get(line.removeprefix(self.cue)) if line.startswith(self.cue) else None

    def _fit(self, plan: Plan, budget: int) -> Plan:
        """Drop the oldest examples, then the weakest words, until the instruction is within the budget."""
        while self.count_tokens(self.write(plan)) > budget:
            if plan.examples:
                plan = replace(plan, examples=plan.examples[1:])
            elif plan.words:
                longest = max(len(terms) for _, terms in plan.words)
                cut = [(name, terms[:-1] if len(terms) == longest else terms) for name, terms in plan.words]
                plan = replace(plan, words=tuple((name, terms) for name, terms in cut if terms))
            elif plan.notes:
                plan = replace(plan, notes=plan.notes[1:])
            else:
                break
        return plan


class ProposerElsewhere:
    """Proposes from the train rows that do not judge the proposal: a minibatch's families give it no evidence.

    Instructions that show a row, or its paraphrase, have that row right. Were minibatches to judge evidence from their
    own rows, the longest quotation would win, and nothing be gained on dev. Where less than half of the rows is left
    without a minibatch, all give evidence: dev and the rows held back still judge.

    Parameters
    ----------
    rows : sequence of Example
        The search's train rows.
    make : callable
        Of the rows that give evidence and those that only judge: a proposer, called as ``EvidenceProposer`` is.
    """

    def __init__(
        self, rows: Sequence[Example], make: Callable[[Sequence[Example], Sequence[Example]], Callable[..., str]]
    ) -> None:
        self.rows, self.make = rows, make
        self.families = family_names(rows)
        self._made: tuple[frozenset[str], Callable[..., str]] | None = None

    def __call__(
        self, text: str, reflective_rows: Sequence[Mapping[str, Any]], rng: random.Random, token_budget: int
    ) -> str:
        """As ``EvidenceProposer``; ``reflective_rows`` are of the minibatch that judges."""
        texts = frozenset(row["Inputs"]["text"] for row in reflective_rows)
        # All proposals of a step look at the same rows.
        if self._made is None or self._made[0] != texts:
            self._made = texts, self.make(*self._apart(texts))
        return self._made[1](text, reflective_rows, rng, token_budget)

    def _apart(self, texts: frozenset[str]) -> tuple[list[Example], list[Example]]:
        """Rows that give evidence, and those that only judge."""
        judging = {family for family, row in zip(self.families, self.rows, strict=True) if row.text in texts}
        apart: tuple[list[Example], list[Example]] = [], []
        for family, row in zip(self.families, self.rows, strict=True):
            apart[family in judging].append(row)
        return apart if len(apart[0]) >= len(apart[1]) else (list(self.rows), [])
