"""llama.cpp in this process, on a GGUF file of the weights.

llama.cpp tells the log-probability of the token that it draws, before any sampler has touched it, and probabilities of
the likeliest tokens after the samplers. So a question about several tokens takes two looks at one place, each one token
on a cached prompt. In the first, an ordinary token (the anchor) is forced, and its own log-probability gives the level.
In the second, the tokens asked for are raised far above all others by a known bias, and the anchor further: their
probabilities beside the anchor's give the ratios.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xllamacpp
from numpy.typing import NDArray

from labelwright.engines.native.calls import NativeCalls
from labelwright.engines.options.grammar import gbnf
from labelwright.engines.options.walk import Question, score_by_places
from labelwright.engines.settings import EngineSettings
from labelwright.engines.tokens import PromptTokens, most_tokens
from labelwright.errors import ModelError
from labelwright.models.folders import model_folder
from labelwright.models.gguf import cached_gguf
from labelwright.models.loading import load_tokenizer, saved_merged
from labelwright.models.weights import Weights
from labelwright.prompt import Rendered, Template
from labelwright.statistics.calibration import Calibration

# Rows answered side by side, and the longest prompt of each.
SLOTS = 4
CONTEXT_TOKENS = 2048
# How far the tokens asked for are raised above all others, and the anchor above them. Far beyond any difference of
# logits, and little enough for float32 to keep five digits of a logit, and of a probability e^-60 below another.
RAISE, AHEAD = 100.0, 40.0
# The least probability that llama.cpp's float32 can report.
LEAST = float(np.finfo(np.float32).tiny)
KIND_OF_DTYPE = {"auto": "bf16", "float32": "f32", "float16": "f16", "bfloat16": "bf16", "q8_0": "q8_0"}


class LlamaCppEngine:
    """Scores and generates with llama.cpp.

    Parameters
    ----------
    gguf : Path
        The model.
    tokenizer : transformers fast tokenizer
        Of the same model: prompts are given as token ids, the same bytes as in every other engine.
    slots : int
        Rows in work at a time.
    n_threads : int, optional
        Of llama.cpp; by default what it chooses.
    exact : bool
        Keys and values in float32 and no flash attention, to compare with other engines to the third digit; otherwise
        llama.cpp's own defaults (float16).
    """

    def __init__(
        self,
        gguf: Path | str,
        tokenizer: Any,
        name: str = "model",
        settings: EngineSettings | None = None,
        *,
        slots: int = SLOTS,
        n_threads: int | None = None,
        exact: bool = False,
    ) -> None:
        settings = settings or EngineSettings(backend="llamacpp")
        self.name = name
        self.unexpanded_mass = settings.unexpanded_mass
        self.tokenizer = tokenizer
        self.template = Template.from_tokenizer(tokenizer)
        self.tokens = PromptTokens(
            tokenizer, self.template, name=name, max_tokens=CONTEXT_TOKENS, long_rows=settings.long_rows
        )
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(gguf)
        parameters.n_parallel = slots
        parameters.n_ctx = slots * CONTEXT_TOKENS
        parameters.warmup = False
        parameters.verbosity = -1
        if n_threads:
            parameters.cpuparams.n_threads = n_threads
            parameters.cpuparams_batch.n_threads = n_threads
        if exact:
            parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
            parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        try:
            self._server = xllamacpp.Server(parameters)
        except RuntimeError as error:
            raise ModelError(
                f"{gguf}: llama.cpp cannot load it ({error}); delete it to have it written again"
            ) from error
        self._calls = NativeCalls(self._server, f"llama.cpp ({name})", slots)
        self._lock = threading.Lock()
        # A whole character that ends nothing: what is drawn must be reported.
        self._anchor = self.tokens.plain("a")[0]

    @classmethod
    def open(cls, weights: Weights, settings: EngineSettings | None = None) -> LlamaCppEngine:
        """Write the weights as GGUF, or find them written, and load them.

        ``settings.dtype`` names the file's number format: "float32", "float16", "bfloat16" (as "auto") or "q8_0".
        """
        settings = settings or EngineSettings(backend="llamacpp")
        if weights.base.endswith(".gguf"):
            raise ModelError(
                f"{weights.base}: expected the Hugging Face folder it was made of, whose tokenizer is needed"
            )
        folder = saved_merged(weights) if weights.folder else Path(model_folder(weights.base))
        path = cached_gguf(folder, KIND_OF_DTYPE[settings.dtype])
        return cls(path, load_tokenizer(weights), weights.base, settings, exact=settings.dtype == "float32")

    @property
    def url(self) -> str:
        """Where llama.cpp's own server answers over HTTP, on this machine alone, for as long as the engine is open."""
        return f"{self._server.listening_address}/v1"

    @property
    def is_alive(self) -> bool:
        """Whether it still answers: not after a call that never came back."""
        return not self._calls.is_lost

    @property
    def n_shortened(self) -> int:
        """Rows shortened to fit the context so far."""
        return self.tokens.n_shortened

    def count_tokens(self, text: str) -> int:
        """Number of tokens of plain text."""
        return len(self.tokens.plain(text))

    def score(
        self, prompts: Sequence[Rendered], options: Sequence[str], calibration: Calibration | None = None
    ) -> NDArray[np.float64]:
        """Log-probability of each option, (n_prompts, n_options); see ``Engine.score``."""
        with self._lock:
            return score_by_places(
                self.tokens,
                prompts,
                options,
                self.unexpanded_mass,
                calibration,
                lambda questions: self._calls.map(self._answer, questions),
            )

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = ()) -> list[str]:
        """Greedy continuation of each prompt up to the end of turn; see ``Engine.generate``."""
        return self._complete(prompts, max_new_tokens, {"stop": list(stop)} if stop else {})

    def decode(self, prompts: Sequence[Rendered], options: Sequence[str]) -> list[str]:
        """The option that greedy decoding under a grammar of the options writes: what servers do that only decode."""
        return self._complete(prompts, most_tokens(options), {"grammar": gbnf(options)})

    def _complete(self, prompts: Sequence[Rendered], n_tokens: int, extra: Mapping[str, Any]) -> list[str]:
        sequences = self.tokens.sequences(prompts, reserved=n_tokens)

        def write(sequence: tuple[int, ...]) -> str:
            return self._ask(sequence, n_predict=n_tokens, temperature=0.0, **extra)["text"]

        with self._lock:
            return self._calls.map(write, sequences)

    def _answer(self, question: Question) -> NDArray[np.float64]:
        anchor = self._anchor
        asked = [token for token in question.tokens if token != anchor]
        level = self._draw(question.sequence, {anchor: RAISE}, 0, False)["logprob"]
        found = {anchor: level}
        if asked:
            bias = dict.fromkeys(asked, RAISE) | {anchor: RAISE + AHEAD}
            after = self._draw(question.sequence, bias, len(bias), True)
            probs = {entry["id"]: max(entry["prob"], LEAST) for entry in after["top_probs"]}
            for token in asked:
                found[token] = level + np.log(probs.get(token, LEAST) / probs[anchor]) + AHEAD
        return np.minimum([found[token] for token in question.tokens], 0.0)

    def _draw(self, sequence: tuple[int, ...], bias: Mapping[int, float], n_probs: int, after: bool) -> dict[str, Any]:
        """The anchor drawn after a sequence; ``after``: probabilities after the bias, else log-probabilities before."""
        for _ in range(3):
            answer = self._ask(
                sequence,
                n_predict=1,
                logit_bias=[[token, value] for token, value in bias.items()],
                n_probs=max(n_probs, 1),
                post_sampling_probs=after,
                # At temperature 1 and with no other sampler, what is reported is the softmax itself.
                temperature=1.0,
                samplers=["temperature"],
            )
            if answer["logprobs"] and answer["logprobs"]["content"][0]["id"] == self._anchor:
                return answer["logprobs"]["content"][0]
            # Another token was drawn, against all odds; one that ends the turn or is half a character goes unreported.
        raise ModelError(f"llama.cpp does not follow logit biases for {self.name}: use the transformers backend")

    def _ask(self, sequence: tuple[int, ...], **settings: Any) -> dict[str, Any]:
        answer = self._server.handle_completions({"prompt": list(sequence), "cache_prompt": True, **settings})
        if "choices" not in answer:
            raise ModelError(f"llama.cpp: {str(answer.get('error') or answer)[:300]}")
        return answer["choices"][0]
