"""Whether rows with an image are scored right: held to the model's own forward pass when an engine is opened.

Two images of other shapes, so that an engine that mixes rows up or counts positions wrongly shows: each stands in its
row, and one also in the part that rows share. The plain passes are few, since an image may be a thousand tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from labelwright.engines.images.plain import PlainRow, score_batched, score_cached, score_whole
from labelwright.engines.images.reader import ImageReader, forget_positions
from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed.seen import SeenImage
from labelwright.engines.packed.self_check import N_PREFIX, TOLERANCE
from labelwright.errors import ModelError

# Prefix, rows with their images, tree, whether the first row's image belongs to the prefix -> option scores.
Scores = Callable[[tuple[int, ...], Sequence[tuple[tuple[int, ...], SeenImage]], OptionTree, bool], NDArray[np.float64]]
Slow = Callable[[Any, PlainRow, Sequence[tuple[int, ...]]], list[float]]

_SIZES = ((48, 80), (96, 40))
_N_ROW = 3


def check_images(
    model: Any, reader: ImageReader, markup: str, tokens: Sequence[int], scores: Scores, tolerance: float | None = None
) -> None:
    """Hold the fast way to the plain one.

    Parameters
    ----------
    markup : str
        The template's, around an image.
    tokens : sequence of int
        Ordinary tokens to make rows of.
    scores : callable
        The fast way.

    Raises
    ------
    ModelError
        Where a number is not finite, or further from the plain one than ``self_check.TOLERANCE``.
    """
    prefix, rows, tree = _example(tokens)
    seen = [reader.look(image, markup, f"check {n}") for n, image in enumerate(_noise())]
    plain = np.stack([_plain(model, row, tree) for row in _plain_rows(reader, markup, prefix, rows)])
    together = scores(prefix, list(zip(rows, seen, strict=True)), tree, False)
    shared = scores(prefix, [(rows[0], seen[0])], tree, True)
    off = np.abs(np.concatenate([together - plain, shared - plain[:1]]))
    most = TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16]) if tolerance is None else tolerance
    if not np.isfinite(plain).all():
        raise ModelError("its logits are not finite: weights are damaged, or too large for this dtype")
    if not np.sqrt((off**2).mean()) <= most:
        raise ModelError(f"rows with images: its tree-scored and its own log-probabilities differ by {off.max():.2g}")


def slow_way(model: Any, reader: ImageReader, markup: str, tokens: Sequence[int]) -> Slow:
    """The fastest of the slow ways that is right for a model; ``score_whole`` always is."""
    prefix, rows, tree = _example(tokens)
    asked = [*_plain_rows(reader, markup, prefix, rows), PlainRow(prefix)]
    plain = np.array([score_whole(model, row, tree.options) for row in asked])
    most = TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16])
    for way in (score_batched, score_cached):
        try:
            off = np.array([way(model, row, tree.options) for row in asked]) - plain
        except Exception:  # whatever a model does whose cache is used in an unforeseen way
            continue
        if np.sqrt((off**2).mean()) <= most:
            return way
    return score_whole


def _example(tokens: Sequence[int]) -> tuple[tuple[int, ...], list[tuple[int, ...]], OptionTree]:
    """A prefix, two rows, and options of which two share their first token."""
    line = (*tokens, *tokens)
    different = list(dict.fromkeys(tokens))
    a, b, c, d = different[:4] if len(different) > 3 else range(4)
    rows = [line[N_PREFIX + n : N_PREFIX + n + _N_ROW - n] for n in range(len(_SIZES))]
    return line[:N_PREFIX], rows, OptionTree.build([(a, b), (a, c), (d,)])


def _noise() -> list[Any]:
    from PIL import Image

    chance = np.random.default_rng(0)
    return [Image.fromarray(chance.integers(0, 256, (high, wide, 3), dtype=np.uint8)) for wide, high in _SIZES]


def _plain_rows(
    reader: ImageReader, markup: str, prefix: tuple[int, ...], rows: Sequence[tuple[int, ...]]
) -> list[PlainRow]:
    return [PlainRow(prefix, row, reader.inputs(image, markup)) for image, row in zip(_noise(), rows, strict=True)]


@torch.inference_mode()
def _plain(model: Any, row: PlainRow, tree: OptionTree) -> NDArray[np.float64]:
    """``score_whole`` of ``_example``'s options, whose paths part behind one token, in a single pass."""
    first = tree.options[0][:1]
    forget_positions(model)
    logits = model(**row.inputs(first, next(model.parameters()).device), use_cache=False).logits[0, -2:]
    log_probs = torch.log_softmax(logits.float(), dim=-1).cpu().numpy().astype(np.float64)
    return np.array([sum(log_probs[depth, token] for depth, token in enumerate(one)) for one in tree.options])
