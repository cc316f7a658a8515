"""From an image's hash to what enters a decoder: the model's own processor and its own forward pass, cut off there.

How an image is cut into tiles, which tokens stand for it, what its tower makes of the pixels, where its features go and
what positions they get differ from family to family. None of it is repeated here: the processor is given the template's
markup and the image, the model's forward pass is run on what comes out, and what that hands to its decoder is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from labelwright.engines.packed.heads import answering
from labelwright.engines.packed.seen import SeenImage
from labelwright.errors import DataError, ModelError
from labelwright.pictures.content import opened_image

# Of images that were looked at, for who asks about them again: another prompt, the next step of a training.
KEPT_BYTES = 512 * 2**20
# What a processor gives for the text, and not for the image.
_OF_TEXT = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")


class ImageReader:
    """Looks at images with a model.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    processor : transformers.ProcessorMixin
        The model's.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self.processor = processor
        self._model = model
        self._seen: OrderedDict[tuple[str, str], SeenImage] = OrderedDict()

    @property
    def image_token(self) -> str:
        """What stands for an image in the model's chat template."""
        token = getattr(self.processor, "image_token", None)
        if not isinstance(token, str):
            raise ModelError(f"{type(self.processor).__name__} has no token for images: choose another model")
        return token

    def see(self, digest: str, markup: str) -> SeenImage:
        """What the model makes of a kept image and the template's markup around it; looked at once.

        Raises
        ------
        DataError
            An image that is kept no more, or that the model's processor refuses; without a row.
        """
        key = digest, markup
        if key not in self._seen:
            self._seen[key] = self.look(opened_image(digest), markup, digest)
        self._seen.move_to_end(key)
        while len(self._seen) > 1 and sum(seen.n_bytes for seen in self._seen.values()) > KEPT_BYTES:
            self._seen.popitem(last=False)
        return self._seen[key]

    def with_model(self, model: Any) -> ImageReader:
        """A reader for the same weights in another copy of the model; what was seen stays where numbers are alike."""
        other = ImageReader(model, self.processor)
        if model.dtype == self._model.dtype:
            other._seen.update(self._seen)
        return other

    def forget(self) -> None:
        """Drop what was seen; to be called when the weights have changed."""
        self._seen.clear()

    def inputs(self, image: Any, markup: str) -> dict[str, Any]:
        """What the model's forward pass takes for an image (PIL, RGB) and the markup, tensors of one sequence."""
        try:
            given = self.processor(text=[markup], images=[image], return_tensors="pt", add_special_tokens=False)
        except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:  # shapes that it has no way with
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(f"the model cannot take an image of {image.width} by {image.height} ({said})") from error
        dtype, device = self._model.dtype, next(self._model.parameters()).device
        tensors = {name: value for name, value in given.items() if isinstance(value, Tensor)}
        return {n: x.to(device, dtype if x.is_floating_point() else x.dtype) for n, x in tensors.items()}

    @torch.no_grad()
    def look(self, image: Any, markup: str, digest: str) -> SeenImage:
        """``see`` of pixels (PIL, RGB), not kept."""
        inputs = self.inputs(image, markup)
        handed = self._handed_over(inputs)
        input_ids, entering = inputs["input_ids"], handed["inputs_embeds"]
        plain = self._model.get_decoder().get_input_embeddings()(input_ids)
        places = (entering != plain).any(-1)[0].nonzero()[:, 0]
        positions = handed.get("position_ids")
        if positions is not None and positions.dim() == 3:
            # Of four axes the first is the place, which only masks ask for.
            positions = positions[-3:, 0] - positions[-3:, 0].min()
            span = int(positions.max()) + 1
        else:
            positions, span = None, input_ids.shape[1]
        layers = tuple(handed.get("deepstack_visual_embeds") or ())
        return SeenImage(digest, tuple(input_ids[0].tolist()), places, entering[0, places], positions, span, layers)

    def _handed_over(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """What the model's forward pass hands to its decoder, without dropout."""
        was_training = self._model.training

        def stop(*_: Any, **handed: Any) -> None:
            raise _HandedOverError(handed)

        try:
            self._model.eval()
            with answering(self._model.get_decoder(), stop):
                self._model(**inputs, use_cache=False)
        except _HandedOverError as reached:
            handed: dict[str, Any] = reached.args[0]
        else:
            raise ModelError("its forward pass does not go through its decoder")
        finally:
            self._model.train(was_training)
            forget_positions(self._model)
        if handed.get("inputs_embeds") is None:
            raise ModelError("its decoder is handed no embeddings")
        return handed


class _HandedOverError(Exception):
    """The decoder was reached; carries what it was called with."""


def forget_positions(model: Any) -> None:
    """Drop what a model remembers of the positions of the last image (Qwen's ``rope_deltas``)."""
    parts: list[Any] = [model, getattr(model, "model", model)]
    for part in parts:
        if getattr(part, "rope_deltas", None) is not None:
            part.rope_deltas = None


def of_text(inputs: dict[str, Any]) -> dict[str, Any]:
    """What the tokens of a sequence are, of a processor's output; the rest is the image's."""
    return {name: value for name, value in inputs.items() if name in _OF_TEXT}
