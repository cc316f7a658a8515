"""The engine over ``labelwright.engines.lean.model``, and whether it may stand in transformers' place."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from labelwright.engines.lean.known import Known, LeanTokenizer, keep, keep_away, key_of, recall
from labelwright.engines.lean.model import NotLeanError, digest_of_settings, lean_folder, load_lean
from labelwright.engines.packed.decoder import LeanDecoder, pack_linears
from labelwright.engines.packed.heads import PlainHead
from labelwright.engines.packed.self_check import TEXT, check_scores
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import ModelError
from labelwright.models.loading import choose_device, choose_dtype
from labelwright.models.weights import Weights
from labelwright.prompt import Rendered


def open_to_score(weights: Weights, settings: EngineSettings | None = None) -> TransformersEngine:
    """``TransformersEngine.open`` for who will score only: without transformers, where that comes to the same.

    The first time that a model is opened on a machine, with these versions, it is opened both ways, and the lean one is
    held to the model's plain logits as the other is.
    """
    settings = settings or EngineSettings()
    try:
        folder = lean_folder(weights)
        device = choose_device(settings.device)
        key = key_of(digest_of_settings(weights, folder), device, choose_dtype(settings.dtype, device))
        if (known := recall(key)) is not None:
            return LeanEngine(weights, folder, settings, known)
    except (NotLeanError, OSError):
        return TransformersEngine.open(weights, settings)
    engine = TransformersEngine.open(weights, settings)
    if engine.reads_images:  # with transformers' own code, always
        return engine
    # A cache folder that cannot be written to is no reason not to answer.
    with suppress(OSError):
        _find_out(engine, weights, folder, settings, key)
    return engine


class LeanEngine(TransformersEngine):
    """Scores as its parent does; what else that can do is opened when it is asked for.

    Parameters
    ----------
    weights : Weights
    folder : Path
        Of the whole weights.
    settings : EngineSettings
    known : Known
    """

    def __init__(self, weights: Weights, folder: Path, settings: EngineSettings, known: Known) -> None:
        device = choose_device(settings.device)
        model = load_lean(weights, folder, device, choose_dtype(settings.dtype, device))
        pack_linears(model)
        self._hold(model, known.tokenizer, weights.base, settings, known.template, known.max_tokens)
        self.decoder, self.head = LeanDecoder(model.get_decoder()), PlainHead(model.get_output_embeddings())
        self._opened_from = weights, settings

    def generate(
        self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = (), pattern: str = ""
    ) -> list[str]:
        """As ``TransformersEngine.generate``, by transformers."""
        return self._whole.generate(prompts, max_new_tokens, stop, pattern)

    @cached_property
    def _whole(self) -> TransformersEngine:
        return TransformersEngine.open(*self._opened_from)


def _find_out(engine: TransformersEngine, weights: Weights, folder: Path, settings: EngineSettings, key: str) -> None:
    """Open a model lean that transformers has just opened, and remember whether it may be."""
    tokenizer, template = engine.tokenizer, engine.template
    try:
        if not (isinstance(engine.decoder, LeanDecoder) and isinstance(engine.head, PlainHead)):
            raise NotLeanError("its layers, or its logits, need transformers' own code")
        known = Known(template, engine.tokens.max_tokens, LeanTokenizer.of(tokenizer))
        for text in (TEXT, template.before_system + TEXT + template.after_user + template.end_of_turn):
            if known.tokenizer.encode(text) != tokenizer.encode(text, add_special_tokens=False):
                raise NotLeanError("its tokenizer does more than its file says")
        lean = LeanEngine(weights, folder, settings, known)
        check_scores(engine.model, engine.tokens.plain(TEXT), lean._whole_edges)
    except ModelError:
        keep_away(key)
    else:
        keep(key, known)
