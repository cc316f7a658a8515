"""Any OpenAI-compatible endpoint: Ollama, LM Studio, llama-server, hosted models.

Such a server renders the chat template itself and answers in text, so two things that hold for the other engines do
not hold here: the bytes that the model reads are the server's, and it names a winner instead of giving probabilities.
Structured outputs with an enumeration keep it from inventing a label. ``has_probabilities`` is False, and reports say
so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openai
from numpy.typing import NDArray

from labelwright.engines.one_hot import one_hot
from labelwright.engines.servers.answers import read_answer
from labelwright.engines.servers.asking import in_order
from labelwright.engines.servers.http import IN_FLIGHT, client, one_line_errors, reason, served_models
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError, ModelError
from labelwright.models.weights import Weights
from labelwright.prompt import Rendered, Template
from labelwright.statistics.calibration import Calibration

# Characters a token where no tokenizer is at hand, as English text has them in most vocabularies.
_CHARACTERS_A_TOKEN = 4


class OpenAIEngine:
    """Classifies with a chat completion a row.

    Attributes
    ----------
    has_probabilities : bool
        Always False: scores are one-hot (``labelwright.engines.one_hot``).
    n_invalid : int
        Answers that mean none of the options (``labelwright.engines.servers.answers``) so far; such a row gets the same
        score for every option, and counts as not answered.
    """

    has_probabilities = False
    n_shortened = 0

    def __init__(self, server: openai.OpenAI, url: str, model: str) -> None:
        self._server = server
        self._url = url
        self.name = model
        self.template = Template()
        self.n_invalid = 0
        # Which way of constraining the answer this server takes; found out with the first row.
        self._ways = ["json_schema", "structured_outputs", "plain"]

    @classmethod
    def open(cls, weights: Weights, settings: EngineSettings | None = None) -> OpenAIEngine:
        """Reach the server and check that it offers the model.

        Raises
        ------
        ModelError
            Nobody there, the key refused, another model; tuned weights, which have to be served under a name.
        """
        settings = settings or EngineSettings(backend="openai")
        if weights.folder:
            raise ModelError(
                f'backend "openai" asks for a model by name, not for {weights.folder}: serve the tuned weights '
                f"(labelwright.models.loading.save_merged, labelwright.models.gguf) and give their name as the model"
            )
        server = client(settings.url)
        served = served_models(server, settings.url)
        if served and weights.base not in served:
            raise ModelError(
                f"{settings.url} offers {', '.join(list(served)[:8])}, not {weights.base!r}: correct the model"
            )
        return cls(server, settings.url, weights.base)

    def count_tokens(self, text: str) -> int:
        """An estimate, one token every four characters: the server's tokenizer is not at hand."""
        return -(-len(text) // _CHARACTERS_A_TOKEN)

    def score(
        self, prompts: Sequence[Rendered], options: Sequence[str], calibration: Calibration | None = None
    ) -> NDArray[np.float64]:
        """One-hot log-probabilities of the options that the server chose, (n_prompts, n_options).

        Raises
        ------
        DataError
            A row that the server finds too long.
        """
        answers = [option.strip() for option in options]
        if not prompts:
            return np.empty((0, len(options)))
        # The first row alone: it finds out how this server wants to be asked.
        numbered = list(enumerate(prompts, start=1))
        texts = [self._choose(numbered[0], answers)]
        texts += in_order(lambda row: self._choose(row, answers), numbered[1:], IN_FLIGHT)
        meant = [read_answer(text, answers) for text in texts]
        self.n_invalid += meant.count(None)
        return one_hot(np.array([-1 if one is None else one for one in meant]), len(options))

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = ()) -> list[str]:
        """The server's own answer to each prompt, unconstrained; see ``Engine.generate``."""

        def ask(row: tuple[int, Rendered]) -> str:
            return self._complete(row, max_tokens=max_new_tokens, **({"stop": list(stop)} if stop else {}))[0]

        return in_order(ask, list(enumerate(prompts, start=1)), IN_FLIGHT)

    def _choose(self, row: tuple[int, Rendered], answers: Sequence[str]) -> str:
        while True:
            way = self._ways[0]
            try:
                text, is_whole = self._complete(row, **_constraint(way, answers))
            except _RefusedError as error:
                if len(self._ways) == 1:
                    raise ModelError(f"{self._url} refuses the request: {error}") from error
                self._ways = [other for other in self._ways if other != way]
                continue
            # What the server cut short may be the beginning of another label.
            return text if is_whole else ""

    def _complete(self, row: tuple[int, Rendered], **settings: Any) -> tuple[str, bool]:
        """What the server said, and whether that is all of it."""
        number, prompt = row
        messages: list[Any] = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user or " "},
        ]
        with one_line_errors(self._url):
            try:
                answer = self._server.chat.completions.create(
                    model=self.name, messages=messages, temperature=0.0, **settings
                )
            except openai.BadRequestError as error:
                said = reason(error)
                if "context" in said.lower() and ("length" in said.lower() or "exceed" in said.lower()):
                    raise DataError(
                        f"row {number} ({prompt.user[:40]!r}…): too long for {self.name}: {said}; shorten it"
                    ) from error
                raise _RefusedError(said) from error
        if not answer.choices:
            return "", True
        content: Any = answer.choices[0].message.content or ""
        if isinstance(content, list):  # in parts, as some servers have it
            content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
        return content, answer.choices[0].finish_reason != "length"


class _RefusedError(Exception):
    """The server does not take a request as it is."""


def _constraint(way: str, answers: Sequence[str]) -> dict[str, Any]:
    if way == "json_schema":
        schema = {
            "type": "object",
            "properties": {"label": {"type": "string", "enum": list(answers)}},
            "required": ["label"],
            "additionalProperties": False,
        }
        wanted = {"type": "json_schema", "json_schema": {"name": "label", "strict": True, "schema": schema}}
        return {"response_format": wanted}
    if way == "structured_outputs":  # vLLM's own name for it
        return {"extra_body": {"structured_outputs": {"choice": list(answers)}}}
    return {}
