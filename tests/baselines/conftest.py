"""Settings under which every candidate runs in a moment: tiny models in place of the real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from static_model import static_model_folder

from baselines import BASELINES


@pytest.fixture(scope="session")
def static_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny static model."""
    return static_model_folder(tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="session")
def encoder(static_model: Path) -> str:
    """A sentence encoder by its name: tiny, and really model2vec's."""
    return f"model2vec:{static_model}"


@pytest.fixture(scope="session")
def settings_for(encoder: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What to give ``baselines.make`` for a candidate; models are made once a session."""
    made: dict[str, dict[str, Any]] = {}

    def settings(name: str) -> dict[str, Any]:
        if name not in made:
            if BASELINES[name].module == "baselines.embeddings":
                # Two instead of three to choose from.
                made[name] = {"encoder": encoder} | ({} if BASELINES[name].zero_shot else {"strengths": [1.0, 10.0]})
            elif name == "local-minilm":
                made[name] = {"encoder": encoder}
            elif name == "minilm-ordinal":
                made[name] = {"encoder": encoder, "strengths": [1.0, 10.0]}
            elif name in ("minilm-nearest-choice", "pair-logreg"):
                made[name] = {"encoder": encoder}
            else:
                made[name] = tiny_models.settings_for(name, tmp_path_factory.mktemp(name))
                if "epochs" in made[name]:
                    made[name]["epochs"] = 1
        return dict(made[name])

    return settings
