"""A bundle of two bundles of n-grams, which answer as a mean or as a cascade."""

from __future__ import annotations

from pathlib import Path

from fakes import toy_splits, toy_task

import baselines
from labelwright.bundle.making import predictor_bundle, together_bundle
from labelwright.bundle.store import save
from labelwright.data.task import texts_and_labels
from labelwright.engines.opening import open_engine
from labelwright.engines.together.plan import Level, Plan
from labelwright.statistics.calibration import Calibration

NAMES = ("sgd-ngrams", "sgd-chars")
MEAN = Plan((Level((0.6, 0.4)),))
CASCADE = Plan((Level((1.0, 0.0), 0.6), Level((0.0, 1.0))))


def several_bundle(folder: Path, plan: Plan) -> Path:
    """Trained, put together and saved under ``folder``; returns the bundle's place."""
    for name in NAMES:
        baselines.make(name, toy_task(), 0).fit(*texts_and_labels(toy_splits().train)).save(folder / name / "trained")
        member = predictor_bundle(toy_task(), name, folder / name / "trained", Calibration(3.0, (0.1, 0.0, -0.1)))
        save(member, folder / name / "bundle")
    members = {name: folder / name / "bundle" for name in NAMES}
    calibration = Calibration(0.8, (0.0, 0.2, 0.0))
    bundle = together_bundle(toy_task(), "several", plan, members, folder / "staging", calibration)
    save(bundle, folder / "bundle", engine=open_engine(bundle.weights), golden=toy_splits().dev[:2])
    return folder / "bundle"
