"""Candidates on rows of several points, drawn: a question of any labels and a yes or no, without a model."""

from __future__ import annotations

import numpy as np
from comparison_fakes import make_report

from labelwright.data.asked.cells import AskedColumns
from labelwright.data.asked.questions import Question
from labelwright.data.asked.rows import over_points
from labelwright.data.label import Label
from labelwright.data.records import Row
from labelwright.data.task import Example, Task
from labelwright.decisions.decision import Decision
from workbench.compare.candidate import Candidate
from workbench.compare.leaderboard import build
from workbench.report.report import Report

TOPICS = Question("topics", "labels", tuple(map(Label, ("late", "refund", "rude"))))
TASK = Task.asking("mail", "Read the mail.", [TOPICS, Question("urgent", "yes_no")])
NAMES = ("rough", "fine", "leant")
SAID_FROM = (0.3, 0.3, 0.3, 0.5)


def asked_rows(n_rows: int = 60, seed: int = 0) -> list[Example]:
    """Examples of rows in families of two; every tenth is labelled for its topics alone."""
    rng = np.random.default_rng(seed)
    columns = [AskedColumns(one, (one.name,)) for one in TASK.questions]
    rows, records = [], []
    for number in range(n_rows):
        has = [label.name for label in TOPICS.labels if rng.random() < 0.3]
        urgent = "" if number % 10 == 9 else "yes" if rng.random() < 0.5 else "no"
        rows.append(Example(f"{number}", f"mail {number}", "", group=f"g{number // 2}"))
        records.append(Row(number, {"topics": has, "urgent": urgent}))
    return [example for example, _ in over_points(rows, records, columns, "f")]


def asked_candidates(test: list[Example], seed: int = 1) -> list[Candidate]:
    """Three of them, of which the last has the second's probabilities and says topics from 0.3 on."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, ahead in (("rough", 0.6), ("fine", 1.6)):
        probs = np.zeros((len(test), len(TASK.names)))
        for number, example in enumerate(test):
            gold = TASK.index(example.label)
            yes = gold - gold % 2
            logit = (ahead if gold == yes else -ahead) + rng.normal() - 0.4
            probs[number, [yes, yes + 1]] = 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(logit))
        found[name] = probs
    calibration = {"temperature": 1.0, "bias": [], "variant": "none", "log_loss_before": 0.5, "log_loss_after": 0.5}
    gained = {"maximise": "micro_f1", "said_from": {"topics": {"before": 0.5, "after": 0.6, "kept": 1.0}}}
    cost = {"ms_p50": 1.0, "size_bytes": 1e6}
    plain = [
        Candidate(name, "baseline", raw=found[name], probs=found[name], calibration=calibration, cost=cost)
        for name in ("rough", "fine")
    ]
    leant = Candidate(
        "leant", "baseline", raw=found["fine"], probs=found["fine"], calibration=calibration | gained, cost=cost,
        decision=Decision.of_task(TASK, SAID_FROM), said_from=SAID_FROM,
    )  # fmt: skip
    return [*plain, leant]


def asked_report(n_resamples: int = 60) -> Report:
    """The report of those candidates."""
    test = asked_rows()
    board = build(asked_candidates(test), test, TASK.names, n_resamples, 0, task=TASK)
    return make_report(board, test, TASK.names)
