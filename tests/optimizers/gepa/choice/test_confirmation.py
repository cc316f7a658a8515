"""Which program is taken, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from fakes import toy_bundle

from labelwright.data.task import Example, group_keys
from labelwright.decisions.decision import LIKELIEST
from labelwright.statistics.intervals import gain_test
from optimizers.gepa.choice.confirmation import MOST_TRIED, Program, confirm, in_order, least_families
from optimizers.gepa.choice.objective import Objective

NAMES = toy_bundle().task.names
OBJECTIVE = Objective("expected_reward", np.eye(3), LIKELIEST)


def rows(n: int, start: str) -> list[Example]:
    return [Example(f"{start}{i}", f"text {start}{i}", NAMES[i % 3], group=f"{start}{i // 2}") for i in range(n)]


DEV, HELD_BACK = rows(40, "dev"), rows(40, "held")


@dataclass
class Answers:
    """P(gold) of every row by program: on dev and elsewhere."""

    skill: dict[str, tuple[float, float]]
    bundle: object = field(default_factory=toy_bundle)
    wrong: dict[str, tuple[str, ...]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def on_validation(self, prompt):
        return self._probs(prompt.instructions, DEV, self.skill[prompt.instructions][0])

    def elsewhere(self, prompt, asked):
        if asked and asked[0].id.startswith("held"):
            self.asked.append(prompt.instructions)
        return self._probs(prompt.instructions, asked, self.skill[prompt.instructions][1])

    def _probs(self, name, asked, skill):
        noise = np.random.default_rng(sum(map(ord, name))).normal(0, 0.01, len(asked))
        probs = np.empty((len(asked), 3))
        for i, row in enumerate(asked):
            p = 0.1 if row.id in self.wrong.get(name, ()) else np.clip(skill + noise[i], 0.01, 0.98)
            probs[i] = (1 - p) / 2
            probs[i, NAMES.index(row.label)] = p
        return probs


def programs(answers: Answers, tokens: dict[str, int]) -> list[Program]:
    gold = np.array([NAMES.index(row.label) for row in DEV])
    made = []
    for number, (name, n_tokens) in enumerate(tokens.items()):
        prompt = toy_bundle().prompt.with_instructions(name)
        made.append(Program(number, prompt, n_tokens, OBJECTIVE.values(answers.on_validation(prompt), gold)))
    return made


def decide(answers, tokens, must=(), held_back=HELD_BACK, confidence=0.95):
    return confirm(programs(answers, tokens), DEV, held_back, must, answers, OBJECTIVE, confidence)


def test_the_best_on_dev_is_taken_where_it_gains_elsewhere_too():
    found = decide(Answers({"seed": (0.4, 0.4), "good": (0.6, 0.55)}), {"seed": 5, "good": 50})
    assert found.taken.number == 1
    assert found.note.startswith("taken: program 1, on 40 held-back rows (20 families) expected_reward gained +0.1")
    assert "(90.0%)" in found.note
    assert "where mistakes are rare and dear, p is too low" in found.note


def test_what_only_dev_likes_is_not_taken_and_the_next_may_be():
    answers = Answers({"seed": (0.4, 0.4), "lucky": (0.7, 0.4), "good": (0.6, 0.55)})
    found = decide(answers, {"seed": 5, "lucky": 50, "good": 50})
    assert [one.program.number for one in found.tried] == [1, 2]
    assert found.taken.number == 2
    assert found.note.endswith("the same rows had refused 1 before it, and their gain is not corrected for it")
    alone = decide(Answers({"seed": (0.4, 0.4), "lucky": (0.7, 0.4)}), {"seed": 5, "lucky": 50})
    assert alone.taken.number == 0
    assert alone.note.startswith("not taken: program 1, on 40 held-back rows")
    assert decide(Answers({"seed": (0.4, 0.4), "worse": (0.3, 0.9)}), {"seed": 5, "worse": 9}).tried == ()


def test_the_level_is_shared_by_all_that_may_be_tried_and_no_more_than_three_are():
    skill = {"seed": (0.4, 0.4)} | {f"lucky{i}": (0.9 - i / 10, 0.4 - i / 1000) for i in range(4)}
    answers = Answers(skill)
    found = decide(answers, dict.fromkeys(skill, 50))
    assert found.taken.number == 0
    assert len(found.tried) == 3
    assert "(96.7%), one-sided" in found.note
    assert "at most 0.0167" in found.note


def test_of_programs_that_are_not_told_apart_the_shorter_is_taken():
    answers = Answers({"seed": (0.4, 0.4), "long": (0.6005, 0.55), "short": (0.6, 0.55), "poor": (0.5, 0.5)})
    made = programs(answers, {"seed": 5, "long": 300, "short": 60, "poor": 10})
    assert [one.number for one in in_order(made, group_keys(DEV))] == [2, 1, 3]


def test_a_program_that_breaks_a_row_which_the_first_had_right_is_never_taken():
    """Of dev, or of train, which has the calibration of dev; a row that was wrong before may be."""
    train = rows(6, "train")
    answers = Answers(
        {"seed": (0.5, 0.5), "good": (0.7, 0.7)}, wrong={"good": ("train3", "train5"), "seed": ("train5",)}
    )
    tokens = {"seed": 5, "good": 50}
    found = decide(answers, tokens, must=[train[3], train[5], DEV[0]])
    assert found.taken.number == 0
    assert found.tried[0].regressed == ("train3",)
    assert found.note == "not taken; program 1 has train3 wrong (must_not_regress)"
    assert answers.asked == [], "and the rows held back are not spent on it"
    assert decide(answers, tokens, must=[train[5], DEV[0]]).taken.number == 1
    assert decide(answers, tokens, must=[train[3]], confidence=0.0).taken.number == 0


@pytest.mark.parametrize("settings", [{"held_back": ()}, {"confidence": 0.0}])
def test_without_rows_held_back_or_without_confidence_dev_decides(settings):
    found = decide(Answers({"seed": (0.4, 0.4), "lucky": (0.7, 0.3)}), {"seed": 5, "lucky": 50}, **settings)
    assert found.taken.number == 1
    assert found.note.startswith("taken on validation alone")


def test_near_copies_confirm_no_more_than_one_of_them():
    skill, tokens = {"seed": (0.4, 0.4), "good": (0.6, 0.55)}, {"seed": 5, "good": 50}
    alone = [replace(row, group=None) for row in HELD_BACK[:4]]
    copies = [replace(row, id=f"{row.id} {n}", text=row.text + "!" * n) for row in alone for n in range(10)]
    found = decide(Answers(skill), tokens, held_back=copies)
    assert found.taken.number == 0
    assert "on 40 held-back rows (4 families)" in found.note
    assert found.tried[0].p_value == 1 / 16


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_as_few_families_as_are_said_can_confirm_and_fewer_cannot(confidence):
    n, level = least_families(confidence), (1 - confidence) / MOST_TRIED
    assert gain_test(np.ones(n)) <= level < gain_test(np.ones(n - 1))
