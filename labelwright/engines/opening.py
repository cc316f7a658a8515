"""From weights and settings to an engine: the backend is imported here, and the model loaded or its server reached."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import partial
from importlib import import_module

from labelwright.engines.predictor import PredictorEngine
from labelwright.engines.protocol import Engine
from labelwright.engines.settings import BACKENDS, EngineSettings
from labelwright.engines.thinking import ThinkingEngine
from labelwright.engines.together.engine import TogetherEngine
from labelwright.errors import MissingExtraError, ModelError
from labelwright.models.weights import Predictor, Together, Weights
from labelwright.prompt import Template
from labelwright.reading import no_prompts, opening


def open_engine(weights: Weights, settings: EngineSettings | None = None, *, to_score: bool = False) -> Engine:
    """Load a model, or reach its server, and return the engine over it.

    A predictor runs in process, whatever the settings say. Of several bundles each is opened.

    Parameters
    ----------
    to_score : bool
        Whoever only scores may not have to wait for all that a backend can do.

    Raises
    ------
    ModelError
        A model that cannot be fetched, loaded or reached.
    MissingExtraError
        If what the backend, or the predictor, needs is not installed.
    BundleError
        If the predictor's folder is damaged, or written by a newer version.
    """
    settings = settings or EngineSettings()
    # Tuned weights are files that may be damaged; whatever libraries say of that becomes one line.
    with no_prompts(), warnings.catch_warnings(), opening(weights.folder) if weights.folder else nullcontext():
        warnings.simplefilter("ignore")
        return _opened(weights, settings, to_score)


def _opened(weights: Weights, settings: EngineSettings, to_score: bool) -> Engine:
    if isinstance(weights, Predictor):
        return PredictorEngine.open(weights, settings)
    if isinstance(weights, Together):
        return TogetherEngine.open(weights, settings, partial(open_engine, to_score=to_score))
    if faults := list(settings.faults()):
        raise ModelError("; ".join(faults))
    backend = BACKENDS[settings.backend]
    only_scores = to_score and backend.lean and not settings.thinking_tokens
    try:
        engine = getattr(import_module(backend.module), backend.engine)
        opener = import_module(backend.lean).open_to_score if only_scores else engine.open
        opened = opener(weights, settings)
    except MissingExtraError:
        raise
    except ImportError as error:
        raise MissingExtraError(
            f'backend "{settings.backend}" is not installed ({error}): pip install "labelwright[{backend.extra}]"'
        ) from error
    if not settings.thinking_tokens:
        answering: Engine = opened
        return answering
    return ThinkingEngine(opened, Template.from_tokenizer(opened.tokenizer, thinking=True), settings.thinking_tokens)
