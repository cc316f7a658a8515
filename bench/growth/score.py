"""`python -m bench.growth.score CASE`: one call of the scorer in this process, and what it took, as a line of JSON."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from bench.growth.cases import MEASURED, Case
from bench.growth.made import INSTRUCTIONS, texts
from labelwright.data.task import Label
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration

_WARM_UP_ROWS = 4


def score(case: Case) -> dict[str, float]:
    """Seconds of scoring a case's rows, its prefix warm; and how sure the answers are, the mean top probability."""
    engine = open_engine(Base(case.what), EngineSettings(device="cpu"))
    prompt = Prompt(INSTRUCTIONS, tuple(map(Label, case.names)), style="name", template=engine.template)
    calibration = Calibration(case.temperature)
    rows = prompt.render_all(list(texts(case.n_rows, case.n_words)))
    engine.score(rows[:_WARM_UP_ROWS], prompt.options, calibration)
    cpu, wall = time.process_time(), time.perf_counter()
    scores = engine.score(rows, prompt.options, calibration)
    taken = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    return taken | {"confidence": float(np.max(calibration.apply(scores), axis=1).mean())}


if __name__ == "__main__":
    print(MEASURED + json.dumps(score(Case(**json.loads(sys.argv[1])))))
