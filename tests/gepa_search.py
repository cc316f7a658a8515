"""A search for instructions over the engine that reads words, for the tests of the prompt stage."""

from __future__ import annotations

from dataclasses import replace

from fakes import FakeEngine, toy_bundle, toy_examples, toy_splits

from labelwright.data.task import Splits
from optimizers.gepa.stage import GepaStage
from optimizers.stage import StageContext

QUICK = {"max_metric_calls": 300, "minibatch_size": 9, "proposals_per_step": 2, "holdout_share": 0.3}


class RecordingTracker:
    """Keeps everything it is told."""

    def __init__(self):
        self.prompts, self.curves, self.values, self.artifacts, self.seen = {}, [], {}, [], []
        self.tables = {}

    def params(self, values):
        self.values |= values

    def metrics(self, values, step=None):
        if step is None:
            self.values |= values
        else:
            self.curves.append((step, dict(values)))

    def artifact(self, path):
        self.artifacts.append(path)

    def table(self, name, columns):
        self.tables[name] = columns

    def prompt(self, role, text):
        self.prompts[role] = text

    def progress(self, done, total, message=""):
        self.seen.append((done, total, message))


def hard_splits():
    """The toy rows with labels blurred in one row of five, so that nothing reaches a perfect score."""
    names = toy_bundle().task.names
    rows = [
        replace(row, label=names[i % 3]) if i % 5 == 0 else row for i, row in enumerate(toy_examples(18))
    ]  # fmt: skip
    number = [int(row.group.rsplit("-", 1)[1]) for row in rows]
    return Splits(
        tuple(row for row, n in zip(rows, number, strict=True) if n % 3),
        tuple(row for row, n in zip(rows, number, strict=True) if n % 3 == 0),
        (),
        (),
    )


def run(folder, splits=None, engine=None, seed=0, tracker=None, **settings):
    engine, tracker = engine or FakeEngine(), tracker or RecordingTracker()
    folder.mkdir(exist_ok=True)
    context = StageContext(folder, tracker, lambda weights: engine, seed)
    bundle = GepaStage(**{**QUICK, **settings}).run(toy_bundle(engine), splits or toy_splits(), context)
    return bundle, tracker, engine
