"""A vLLM server, asked for the log-probabilities of an option tree's tokens.

Prompts go out as token ids, so that the server reads the same bytes as every other engine, and answers come back for
named tokens (``logprob_token_ids``): the probabilities of the whole closed set, not only of the winner. vLLM's prefix
cache holds the instructions, and each row while its tree is walked.

A server that gives no log-probabilities still classifies: structured outputs then name the winner (``choice``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import openai
from numpy.typing import NDArray

from labelwright.engines.one_hot import one_hot
from labelwright.engines.options.walk import Question, score_by_places
from labelwright.engines.servers.answers import read_answer
from labelwright.engines.servers.asking import in_order
from labelwright.engines.servers.http import IN_FLIGHT, client, one_line_errors, reason, served_models
from labelwright.engines.settings import EngineSettings
from labelwright.engines.tokens import PromptTokens, most_tokens
from labelwright.errors import ModelError
from labelwright.models.loading import load_tokenizer
from labelwright.models.weights import Adapter, Weights
from labelwright.prompt import Rendered, Template
from labelwright.statistics.calibration import Calibration

DEFAULT_URL = "http://127.0.0.1:8000/v1"
# Prompts in one request; some requests are in flight at a time.
REQUEST_PROMPTS = 16


class VllmEngine:
    """Scores through a running vLLM server (``make vllm-server``).

    Attributes
    ----------
    has_probabilities : bool
        Whether the server tells log-probabilities; False once it has refused to.
    """

    def __init__(
        self,
        server: openai.OpenAI,
        url: str,
        model: str,
        tokenizer: Any,
        settings: EngineSettings,
        max_tokens: int | None = None,
    ) -> None:
        self._server = server
        self._url = url
        self.name = model
        self.has_probabilities = True
        self.unexpanded_mass = settings.unexpanded_mass
        self.template = Template.from_tokenizer(tokenizer)
        self.tokenizer = tokenizer
        self.tokens = PromptTokens(
            tokenizer, self.template, name=model, max_tokens=max_tokens, long_rows=settings.long_rows
        )

    @classmethod
    def open(cls, weights: Weights, settings: EngineSettings | None = None) -> VllmEngine:
        """Reach the server and check that it serves these weights.

        Raises
        ------
        ModelError
            No server there, or it serves another model.
        """
        settings = settings or EngineSettings(backend="vllm")
        url = settings.url or DEFAULT_URL
        server = client(url)
        served = served_models(server, url)
        # A tuned model is served under the folder that holds it whole; an adapter has to be merged for that.
        wanted = [str(weights.folder), weights.base] if weights.folder else [weights.base]
        name = next((name for name in wanted if name in served), None)
        if name is None or (weights.folder and name == weights.base):
            merge = (
                "; merge the adapter with labelwright.models.loading.save_merged and serve that"
                if isinstance(weights, Adapter)
                else ""
            )
            raise ModelError(f"{url} serves {', '.join(served) or 'nothing'}, not {wanted[0]}{merge}")
        return cls(server, url, name, load_tokenizer(weights), settings, served[name].get("max_model_len"))

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
        """Log-probability of each option, (n_prompts, n_options); see ``Engine.score``.

        Where the server refuses log-probabilities: almost all of the mass on the option that it chose.
        """
        if self.has_probabilities:
            try:
                return score_by_places(self.tokens, prompts, options, self.unexpanded_mass, calibration, self._ask)
            except _LogProbabilitiesError:
                self.has_probabilities = False
        return one_hot(self.chosen(prompts, options), len(options))

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = ()) -> list[str]:
        """Greedy continuation of each prompt up to the end of turn; see ``Engine.generate``."""
        return self._complete(
            self.tokens.sequences(prompts, max_new_tokens), max_tokens=max_new_tokens, stop=list(stop) or None
        )

    def _ask(self, questions: Sequence[Question]) -> list[NDArray[np.float64]]:
        requests = []
        for tokens, same in groupby(questions, key=lambda question: question.tokens):
            sequences = [list(question.sequence) for question in same]
            for start in range(0, len(sequences), REQUEST_PROMPTS):
                requests.append((sequences[start : start + REQUEST_PROMPTS], tokens))
        return [answer for part in in_order(self._read, requests, IN_FLIGHT) for answer in part]

    def _read(self, request: tuple[list[list[int]], tuple[int, ...]]) -> list[NDArray[np.float64]]:
        sequences, tokens = request
        extra = {"logprob_token_ids": list(tokens), "return_tokens_as_token_ids": True}
        with one_line_errors(self._url):
            try:
                answer = self._server.completions.create(
                    model=self.name, prompt=sequences, max_tokens=1, temperature=0.0, logprobs=1, extra_body=extra
                )
            except openai.BadRequestError as error:
                if "logprob" in reason(error):
                    raise _LogProbabilitiesError from error
                raise
        read = []
        for choice in sorted(answer.choices, key=lambda choice: choice.index):
            top = choice.logprobs.top_logprobs[0] if choice.logprobs and choice.logprobs.top_logprobs else {}
            if any(f"token_id:{token}" not in top for token in tokens):
                raise _LogProbabilitiesError
            read.append(np.array([top[f"token_id:{token}"] for token in tokens]))
        return read

    def chosen(self, prompts: Sequence[Rendered], options: Sequence[str]) -> NDArray[np.int64]:
        """The option that structured outputs write, (n_prompts,): greedy decoding among the options' texts."""
        longest = most_tokens(options)
        answers = self._complete(
            self.tokens.sequences(prompts, longest),
            max_tokens=longest,
            extra_body={"structured_outputs": {"choice": list(options)}},
        )
        chosen, labels = [], [option.strip() for option in options]
        for answer in answers:
            # As it stands first: two options may differ in nothing but the space before them.
            meant = options.index(answer) if answer in options else read_answer(answer, labels)
            if meant is None:
                raise ModelError(f"{self._url} answered {answer!r}, which is none of the choices: is it a vLLM server?")
            chosen.append(meant)
        return np.array(chosen, dtype=np.int64)

    def _complete(self, sequences: Sequence[tuple[int, ...]], **settings: Any) -> list[str]:
        batches = [
            [list(sequence) for sequence in sequences[start : start + REQUEST_PROMPTS]]
            for start in range(0, len(sequences), REQUEST_PROMPTS)
        ]

        def ask(batch: list[list[int]]) -> list[str]:
            with one_line_errors(self._url):
                answer = self._server.completions.create(model=self.name, prompt=batch, temperature=0.0, **settings)
            return [choice.text for choice in sorted(answer.choices, key=lambda choice: choice.index)]

        return [text for part in in_order(ask, batches, IN_FLIGHT) for text in part]


class _LogProbabilitiesError(Exception):
    """The server does not tell the log-probabilities of named tokens."""
