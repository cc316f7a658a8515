"""What a backend must be able to do, and how one is opened.

Programs, optimizers, calibration and serving talk to this protocol; none of them knows which backend answers.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import MissingExtraError, ModelError
from labelwright.models.weights import Predictor, Weights
from labelwright.prompt import Rendered, Template
from labelwright.reading import no_prompts, opening
from labelwright.settings import BELOW_ONE, Choice, Range, Text, check
from labelwright.statistics.calibration import Calibration

# Where each backend lives, and the extra of the package that brings what it needs; imported when first asked for.
BACKENDS = {
    "transformers": ("labelwright.engines.transformers", "TransformersEngine", "transformers"),
    "vllm": ("labelwright.engines.servers.vllm", "VllmEngine", "servers"),
    "llamacpp": ("labelwright.engines.llamacpp", "LlamaCppEngine", "llamacpp"),
    "openai": ("labelwright.engines.servers.openai", "OpenAIEngine", "servers"),
}
LONG_ROWS = ("refuse", "head", "head_tail")
# What each backend that loads weights itself may keep them in; a server decides for itself.
DTYPES = {
    "transformers": ("auto", "float32", "bfloat16", "float16"),
    "llamacpp": ("auto", "float32", "float16", "bfloat16", "q8_0"),
}
_DEVICE = re.compile(r"auto|(cpu|cuda|mps|xpu|hpu|npu|mtia|xla)(:\d{1,3})?")


def device_fault(device: str) -> str:
    """What was expected of a device's name, or an empty text. Whether the machine has it is found out on opening."""
    return "" if _DEVICE.fullmatch(device) else '"auto", "cpu", "cuda", "cuda:1" or "mps"'


@dataclass(frozen=True)
class EngineSettings:
    """Where a model runs and how it is asked; a recipe's ``[model]`` table adds the model's name.

    Attributes
    ----------
    backend : str
        "transformers" (in process), "vllm" (a vLLM server), "llamacpp" (GGUF in process) or "openai" (any
        OpenAI-compatible endpoint).
    device : str
        "auto" takes CUDA where there is one, else MPS, else the CPU; or any torch device name.
    dtype : str
        "auto" takes bfloat16 where the hardware multiplies it natively, else float32; or "float32", "bfloat16".
    url : str
        Base URL of a server, such as "http://127.0.0.1:8000/v1".
    long_rows : {"refuse", "head", "head_tail"}
        What happens to a row that does not fit the model's context: an error that names it, its beginning is kept, or
        its beginning and its end. Shortened rows are counted in ``Engine.n_shortened``.
    unexpanded_mass : float
        In [0, 1). Options of a row are left unexpanded while they cannot hold more than this share of the calibrated
        probability together (``labelwright.engines.expansion``). 0 expands all.
    thinking_tokens : int
        0 switches a model's thinking off. Above, the number of tokens after which a thought is closed.
    """

    backend: Annotated[str, Choice(BACKENDS)] = "transformers"
    device: Annotated[str, Text()] = "auto"
    dtype: Annotated[str, Text()] = "auto"
    url: Annotated[str, Text()] = ""
    long_rows: Annotated[str, Choice(LONG_ROWS)] = LONG_ROWS[0]
    unexpanded_mass: Annotated[float, BELOW_ONE] = 1e-4
    thinking_tokens: Annotated[int, Range(0, 1_000_000)] = 0

    def __post_init__(self) -> None:
        check(self, "")


class Engine(Protocol):
    """One loaded model behind one scoring call.

    Rows keep their order. A prompt that does not fit the model's context raises DataError and names the row, unless
    the settings say that rows are shortened.

    Attributes
    ----------
    name : str
        What to call the model in reports.
    template : Template
        The markup that its prompts must have.
    """

    name: str
    template: Template

    @property
    def n_shortened(self) -> int:
        """Rows shortened to fit the context since the engine was opened; a row scored twice counts twice."""
        ...

    def score(
        self, prompts: Sequence[Rendered], options: Sequence[str], calibration: Calibration | None = None
    ) -> NDArray[np.float64]:
        """Log-probability of each option after each prompt.

        Where the tokens of one option are the beginning of another's, the end of turn is scored with each of them, so
        that no option's probability holds another's; otherwise it is left out.

        An engine may leave options unexpanded that cannot matter. Whether they can is decided in the probabilities that
        will be made of the scores: ``softmax(scores)`` after the calibration given here is within a total variation of
        the engine's ``unexpanded_mass`` of what full expansion gives. Such an engine has that attribute; one that
        always scores every option to its end has not, and need not take ``calibration`` (``score_options``).

        Parameters
        ----------
        prompts : sequence of Rendered
        options : sequence of str
        calibration : Calibration, optional
            What the caller will apply to the scores; it is not applied here.
            ``labelwright.statistics.calibration.UNCALIBRATED`` where they count as they are. None where that is not
            known, because they are kept, fitted on or put together: every option is then scored to its end.

        Returns
        -------
        ndarray of shape (n_prompts, n_options), natural log, each at most 0, uncalibrated
        """
        ...

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = ()) -> list[str]:
        """Greedy free text after each prompt, to measure what unconstrained decoding would answer.

        A text ends before the first of the strings in ``stop``.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Number of tokens of plain text."""
        ...


def has_probabilities(engine: Engine) -> bool:
    """Whether an engine's scores are a model's probabilities; some servers only name a winner."""
    return getattr(engine, "has_probabilities", True)


def n_invalid(engine: Engine) -> int:
    """Answers since an engine was opened that meant none of the options; only servers that answer in text give any."""
    return getattr(engine, "n_invalid", 0)


def score_options(
    engine: Engine, prompts: Sequence[Rendered], options: Sequence[str], calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """``Engine.score`` of any engine, those included that know nothing of calibration as they expand everything."""
    if not hasattr(engine, "unexpanded_mass"):
        return engine.score(prompts, options)
    return engine.score(prompts, options, calibration)


def open_engine(weights: Weights, settings: EngineSettings | None = None) -> Engine:
    """Load a model, or reach its server, and return the engine over it.

    A predictor runs in process, whatever the settings say.

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
        return _opened(weights, settings)


def _opened(weights: Weights, settings: EngineSettings) -> Engine:
    if isinstance(weights, Predictor):
        from labelwright.engines.predictor import PredictorEngine

        return PredictorEngine.open(weights, settings)
    module, cls, extra = BACKENDS[settings.backend]
    try:
        engine = getattr(import_module(module), cls)
    except ImportError as error:
        raise MissingExtraError(
            f'backend "{settings.backend}" is not installed ({error}): pip install "labelwright[{extra}]"'
        ) from error
    opened = engine.open(weights, settings)
    if not settings.thinking_tokens:
        return opened
    from labelwright.engines.thinking import ThinkingEngine

    if not hasattr(opened, "tokenizer"):
        raise ModelError(f'backend "{settings.backend}" renders its own prompts: thinking_tokens must be 0')
    return ThinkingEngine(opened, Template.from_tokenizer(opened.tokenizer, thinking=True), settings.thinking_tokens)
