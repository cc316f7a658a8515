"""A comparison without a model: candidates whose answers are drawn, and leaderboard, rows and report made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from labelwright.data.task import Example
from labelwright.statistics.intervals import Interval, wilson
from labelwright.statistics.metrics import METRICS, ece_floor
from workbench.compare.board import (
    QUALITY,
    QUALITY_OF_FREE,
    Difference,
    Entry,
    Generation,
    Leaderboard,
    Spread,
    Suspect,
    TestRows,
    Verdict,
)
from workbench.compare.candidate import Candidate, CurvePoint, Repeat
from workbench.compare.details import answered, confidence
from workbench.report.files import with_circumstances
from workbench.report.report import Report, SplitSizes, Stage

# Name, kind, how far the right label's logit is ahead, milliseconds a row, megabytes, seconds to train.
CANDIDATES = (
    ("majority", "baseline", -9.0, 0.01, 0.002, 0.1),
    ("sgd-ngrams", "baseline", 4.6, 0.4, 3, 0.5),
    ("sgd-chars", "baseline", 4.2, 0.6, 9, 0.9),
    ("minilm-nearest-name", "baseline", 3.6, 6, 91, 2),
    ("minilm-logreg", "baseline", 5.6, 6.2, 91, 9),
    ("minilm-svm", "baseline", 5.7, 6.3, 91, 8),
    ("minilm-mlp", "baseline", 5.4, 6.4, 92, 31),
    ("minilm-knn", "baseline", 5.1, 6.6, 92, 5),
    ("encoder-ce", "baseline", 6.2, 6.5, 91, 240),
    ("encoder-supcon", "baseline", 6.3, 6.5, 91, 410),
    ("encoder-lora", "baseline", 6.0, 7.1, 92, 260),
    ("encoder-pairs", "baseline", 6.4, 6.6, 91, 900),
    ("llm-head", "baseline", 5.8, 40, 271, 1300),
    ("entailment", "baseline", 3.2, 130, 83, 0),
    ("gliclass", "baseline", 0.0, 0, 0, 0),
    ("free", "free", 1.2, 640, 270, 0),
    ("untuned", "llm", 1.8, 62, 270, 0),
    ("prior", "llm", 2.9, 62, 270, 12),
    ("demos", "llm", 2.6, 98, 270, 60),
    ("neighbours", "llm", 5.0, 105, 361, 20),
    ("sft", "llm", 5.7, 61, 280, 1500),
    ("sft@code", "llm", 5.6, 33, 280, 1400),
    ("gepa", "llm", 2.8, 80, 270, 2400),
    ("gepa+grpo", "llm", 5.9, 80, 280, 5200),
    ("grpo@code", "llm", 0.0, 0, 0, 0),
)
FAILED = {
    "gliclass": "gliclass needs a package that is not installed: python -m pip install gliclass",
    "grpo@code": "grpo@code: ended by the system for want of memory (peak 23.1 GB)",
}


def homeowner_rows(n: int) -> list[Example]:
    """Rows of the dataset that ships, all labels among them."""
    path = Path(__file__).parents[1] / "data" / "homeowner" / "homeowner.jsonl"
    rows = [Example(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    return [rows[i * len(rows) // n] for i in range(n)]


def many_labels_rows(n_labels: int = 77, n_rows: int = 3080) -> list[Example]:
    """Questions to a bank under made-up labels."""
    things = (
        "card",
        "transfer",
        "top up",
        "exchange rate",
        "refund",
        "PIN",
        "cash",
        "identity",
        "fee",
        "account",
        "app",
    )
    events = ("not working", "delayed", "declined", "lost", "charged twice", "limits", "activation")
    labels = [f"{thing} {event}".replace(" ", "_") for thing in things for event in events][:n_labels]
    rows = []
    for i in range(n_rows):
        label = labels[i % n_labels]
        text = f"Hi, my {label.replace('_', ' ')} since the {i % 28 + 1}th, what can I do about it? (case {i})"
        rows.append(Example(f"row-{i}", text, label))
    return rows


def draw_candidates(
    rows: Sequence[Example], labels: Sequence[str], comparison: Sequence[tuple] = CANDIDATES
) -> list[Candidate]:
    """Candidates that find the same rows hard and take labels for their neighbours in the list."""
    random = np.random.default_rng(7)
    gold = np.array([labels.index(row.label) for row in rows])
    n, k = len(rows), len(labels)
    near = np.exp(-0.5 * (np.subtract.outer(np.arange(k), np.arange(k)) / 1.2) ** 2)
    shared = 1.5 * random.normal(size=(n, k)) + 1.1 * near[gold]
    candidates = []
    for name, kind, ahead, ms, megabytes, seconds in comparison:
        if name in FAILED:
            candidates.append(Candidate(name, kind, failed=FAILED[name]))
            continue
        logits = shared + 0.8 * random.normal(size=(n, k))
        logits[np.arange(n), gold] += ahead
        if name == "majority":
            logits = np.zeros((n, k))
            logits[:, 0] = 0.2
        candidate = Candidate(
            name, kind, f"{name} as drawn", raw=_softmax(4 * logits), probs=_calibrated(logits, gold),
            calibration={"temperature": 2.2, "bias": [], "variant": "temperature",
                         "log_loss_before": 0.41, "log_loss_after": 0.33},
            cost=_cost(kind, ms, megabytes, seconds),
        )  # fmt: skip
        if kind != "baseline":
            candidate = replace(
                candidate, step=name, generation={"n_rows": 60, "valid": 0.4 + ahead / 10, "right": ahead / 10}
            )
        if kind == "free":
            candidate = replace(candidate, **_free(candidate.probs, random))
        if name not in ("majority", "untuned", "free", "minilm-nearest-name", "entailment"):
            reached = float((candidate.probs.argmax(axis=1) == gold).mean())
            candidate = replace(candidate, curve=_curve(reached, k, random), repeats=_repeats(reached, random))
        candidates.append(candidate)
    return candidates


def make_board(candidates: Sequence[Candidate], rows: Sequence[Example], labels: Sequence[str]) -> Leaderboard:
    """A leaderboard of those candidates with quick, rough intervals: ``leaderboard.build`` makes the real one."""
    gold = np.array([labels.index(row.label) for row in rows])
    scored = [candidate for candidate in candidates if not candidate.failed]
    value = {candidate.name: float(METRICS["accuracy"](candidate.probs, gold)) for candidate in scored}
    best = max(scored, key=lambda candidate: value[candidate.name])
    near = [candidate for candidate in scored if value[candidate.name] > value[best.name] - 0.025]
    perhaps = [candidate for candidate in scored if 0.025 <= value[best.name] - value[candidate.name] < 0.06]
    ship = min(near, key=lambda candidate: candidate.cost["ms_p50"] or 0)
    tuned = next((candidate.name for candidate in reversed(scored) if candidate.kind == "llm"), None)
    rivals = [candidate.name for candidate in scored if candidate.kind == "baseline"]
    entries = []
    for candidate in candidates:
        entry = _described(candidate)
        if candidate.failed:
            entries.append(entry)
            continue
        right, best_right = (one.probs.argmax(axis=1) == gold for one in (candidate, best))
        entry = replace(
            entry,
            test=_intervals(candidate, candidate.probs, gold),
            raw={} if candidate.kind == "free" else _intervals(candidate, candidate.raw, gold),
        )
        if candidate is not best:
            p = min(1.0, float(np.exp(-60 * abs(value[candidate.name] - value[best.name]))))
            ahead = value[candidate.name] - value[best.name]
            tested = ("accuracy", "macro_f1", "log_loss")
            difference = Difference(Interval(ahead, ahead - 0.03, ahead + 0.03), p, min(1.0, 3 * p))
            entry = replace(
                entry, n_only_this=int((right & ~best_right).sum()), n_only_best=int((~right & best_right).sum()),
                against_best=dict.fromkeys(tested[: 2 if candidate.kind == "free" else 3], difference),
            )  # fmt: skip
        stands = "as good" if candidate in near else "not told apart" if candidate in perhaps else "worse"
        entry = replace(entry, standing="best" if candidate is best else stands)
        if candidate.repeats:
            entry = replace(
                entry,
                spread={"split fixed": _spread(candidate.repeats), "split varied": _spread(candidate.repeats[1:])},
            )
        entries.append(entry)
    rival = max(rivals, key=lambda name: value[name]) if rivals else None
    as_good, unclear = ([candidate.name for candidate in some if candidate is not best] for some in (near, perhaps))
    verdict = Verdict(
        best.name, ship.name, "none as good" if ship is best else "cheaper", as_good=tuple(as_good),
        not_told_apart=tuple(unclear), margin=0.02, n_rows_needed=2400, tuned=tuned, best_baseline=rival,
        worth="baseline" if tuned and rival else "no model" if rival else "no baseline", sure="chance",
        difference=Interval(0.012, -0.006, 0.031) if tuned and rival else None, p_value=0.23,
    )  # fmt: skip
    told = {one.name: one for one in scored if one.name in (best.name, ship.name, tuned)}
    sure = {one.name: one for one in scored if one.name in (*told, rival) and one.kind != "free"}
    return Leaderboard(
        verdict, tuple(labels), TestRows(len(rows), len(rows)), tuple(entries), _frontier(scored, value),
        {name: answered(told[name], gold, labels, rows) for name in (ship.name, *told)},
        {name: confidence(one, gold) for name, one in sure.items()},
        ece_floor(best.probs) if best.kind != "free" else None, _suspects(rows, labels, near),
    )  # fmt: skip


def _described(candidate: Candidate) -> Entry:
    known = candidate.generation
    n_rows = int(known.get("n_rows", 0))
    return Entry(
        candidate.name, candidate.kind, candidate.about, candidate.step, candidate.failed or None,
        candidate.name in ("minilm-nearest-name", "entailment", "untuned", "free", "prior"),
        calibration=candidate.calibration, repeats=candidate.repeats, curve=candidate.curve, cost=candidate.cost,
        generation=Generation(n_rows, *(wilson(known[key], n_rows) for key in ("valid", "right"))) if known else None,
    )  # fmt: skip


def make_report(board: Leaderboard, rows: Sequence[Example], labels: Sequence[str], **changed: object) -> Report:
    """The report of that board after three stages."""
    n = len(rows)
    stages = (
        Stage("0-untuned", "untuned", 3.1, 900_000_000, {"accuracy": 0.41}, {}),
        Stage("1-gepa", "gepa", 2400.0, 1_300_000_000, {"accuracy": 0.62, "log_loss": 1.31},
              {"stage": "gepa", "proposals": 41, "kept": 5, "instructions": "Name the trade.\n\npool: water"}),
        Stage("gepa+grpo", "grpo", 2800.0, None, {}, {"stage": "grpo", "steps": 300, "best_step": 280}),
    )  # fmt: skip
    given = {
        "recipe": "homeowner", "run": "20261125-101500", "command": "make compare RECIPE=runs/homeowner.toml",
        "machine": "x86_64 Linux, 2 cores, 24 GiB, Python 3.11.9", "stages": stages, "curves": make_curves(),
        "splits": SplitSizes(3 * n, n // 2, n // 2, n, len(labels), "0123456789abcdef"),
    }  # fmt: skip
    return with_circumstances(board, **{**given, **changed})


def make_curves() -> dict:
    """Training curves of two stages, as ``chosen_curves`` picks them."""
    steps = range(0, 301, 10)
    learning = tuple((step, 0.94 - 0.5 * float(np.exp(-step / 70))) for step in steps)
    return {
        "1-gepa": {"dev_accuracy": tuple((i, 0.41 + 0.02 * min(i, 9)) for i in range(12))},
        "2-grpo": {"dev_accuracy": learning, "reward": tuple((step, value - 0.04) for step, value in learning)},
    }


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _calibrated(logits: np.ndarray, gold: np.ndarray) -> np.ndarray:
    fitted = [_softmax(scale * logits) for scale in (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)]
    return min(fitted, key=lambda probs: float(METRICS["log_loss"](probs, gold)))


def _free(probs: np.ndarray, random: np.random.Generator) -> dict:
    answers = probs.argmax(axis=1)
    answers[random.random(len(answers)) < 0.3] = probs.shape[1]
    said = np.eye(probs.shape[1] + 1)[answers]
    return {"raw": said, "probs": said, "calibration": {"temperature": 1.0, "bias": [], "variant": "none"}}


def _cost(kind: str, ms: float, megabytes: float, seconds: float) -> dict[str, float | None]:
    return {
        "seconds_to_train": seconds, "ms_p50": ms, "ms_p95": 1.4 * ms, "rows_per_second": 4000 / ms,
        "size_bytes": 1e6 * megabytes, "peak_memory_bytes": 3e8 + 2e6 * megabytes,
        "prompt_tokens": None if kind == "baseline" else 151.0,
    }  # fmt: skip


def _curve(reached: float, n_labels: int, random: np.random.Generator) -> tuple[CurvePoint, ...]:
    points = []
    for per_label in (1, 2, 4, 8, 16, 32, 0):
        for seed in (0, 1):
            share = 1 - 0.75 * float(np.exp(-(per_label or 60) / 6))
            value = min(1.0, max(0.0, reached * share + 0.02 * random.normal()))
            points.append(CurvePoint(per_label, (per_label or 40) * n_labels, seed, value))
    return tuple(points)


def _repeats(reached: float, random: np.random.Generator) -> tuple[Repeat, ...]:
    return tuple(
        Repeat(0, seed, {"accuracy": reached + 0.01 * random.normal(), "macro_f1": reached, "log_loss": 0.3})
        for seed in range(4)
    )


def _spread(repeats: Sequence[Repeat]) -> Spread:
    values = {name: [one.scores[name] for one in repeats] for name in ("accuracy", "macro_f1", "log_loss")}
    return Spread(
        len(repeats),
        {name: float(np.mean(found)) for name, found in values.items()},
        {name: float(np.std(found, ddof=1)) for name, found in values.items()},
    )


def _intervals(candidate: Candidate, probs: np.ndarray, gold: np.ndarray) -> dict[str, Interval]:
    found = {}
    for name in QUALITY_OF_FREE if candidate.kind == "free" else QUALITY:
        value = float(METRICS[name](probs, gold))
        half = 1.96 * float(np.sqrt(max(value * (1 - value), 0.002) / len(gold)))
        found[name] = Interval(
            value, max(0.0, value - half), value + half if name == "log_loss" else min(1.0, value + half)
        )
    return found


def _suspects(rows: Sequence[Example], labels: Sequence[str], near: Sequence[Candidate]) -> tuple[Suspect, ...]:
    names = tuple(candidate.name for candidate in near[:3])
    return tuple(
        Suspect(side, row.id, row.text, row.label, labels[(labels.index(row.label) + 1) % len(labels)], 0.97, names)
        for side, row in zip(("train", "calib", "train", "test", "dev"), rows[::31], strict=False)
    )


def _frontier(scored: Sequence[Candidate], value: dict[str, float]) -> tuple[str, ...]:
    names, reached = [], -1.0
    for candidate in sorted(scored, key=lambda candidate: candidate.cost["ms_p50"] or 0):
        if value[candidate.name] > reached:
            names.append(candidate.name)
            reached = value[candidate.name]
    return tuple(names)
