"""Weights on their way into a training and out of it. Who trains them is ``loop``; what kinds there are, the engines'.

A bundle holds one set of weights: a base, and at most one thing on top. So a new adapter stays an adapter over the
plain base, and over anything else it is merged into a model of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labelwright.engines.protocol import Engine
from labelwright.engines.thinking import ThinkingEngine
from labelwright.errors import ModelError
from labelwright.models.weights import Adapter, Full, Weights


def trainable(engine: Engine, stage: str) -> Any:
    """The engine as one of this process; ModelError where it is none that can be trained on."""
    from labelwright.engines.transformers import TransformersEngine

    if isinstance(engine, ThinkingEngine):
        raise ModelError(
            f"{stage} trains answers, not thoughts: set [model] thinking_tokens = 0, or leave the stage out"
        )
    if not isinstance(engine, TransformersEngine):
        raise ModelError(
            f"{stage} trains in this process, which engine {engine.name!r} cannot: use the transformers backend"
        )
    if engine.slow is not None:
        raise ModelError(
            f"{stage} trains in packed passes, in which {engine.name!r} is not followed: leave the stage out, or "
            f"choose another model"
        )
    return engine


def for_training(given: Weights, device: str, dtype: str, whole: bool) -> Any:
    """The model once more, all of it trainable.

    Parameters
    ----------
    dtype : str
        What the engine answers in.
    whole : bool
        Whether all weights are trained, or an adapter on top of them.
    """
    from labelwright.models.loading import load_model

    # What is trained stays float32, or small updates would round to nothing; autocast multiplies in bfloat16, and so
    # an adapter's base may lie in it. float16 has too little range for gradients: such a model is trained in float32.
    model = load_model(given, device, "bfloat16" if dtype == "bfloat16" and not whole else "float32")
    # A merged adapter leaves its base frozen; PEFT freezes what is below a new one itself.
    model.requires_grad_(True)
    return model


def trained(given: Weights, best: Path, whole: bool, merged: Path, dtype: str) -> Weights:
    """What came of training: the files in ``best`` on top of what was given.

    Parameters
    ----------
    merged : Path
        Where a merged model is written, if there has to be one.
    dtype : str
        Its numbers: those that it was measured in.
    """
    if whole:
        return Full(given.base, best)
    if given.folder is None:
        return Adapter(given.base, best)
    _merge(given, best, merged, dtype)
    return Full(given.base, merged)


def _merge(given: Weights, adapter: Path, folder: Path, dtype: str) -> None:
    import torch
    from peft import PeftModel

    from labelwright.models.loading import load_model, load_tokenizer

    model = PeftModel.from_pretrained(load_model(given, "cpu", "float32"), str(adapter))
    model.merge_and_unload().to(getattr(torch, dtype)).save_pretrained(folder)
    load_tokenizer(given).save_pretrained(folder)
