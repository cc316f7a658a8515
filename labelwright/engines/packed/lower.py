"""What frozen layers make of a row, kept from one training step to the next.

Below the lowest adapter no weight moves, so a row leaves those layers alike at every step, whatever is learnt above.
They are run once, for the prefix and for each row, and what comes out is kept: a step begins there, forward and
backward. Rows can be kept one by one and met in any company because a packed token looks at nothing but the prefix and
its own row; what enters the trained layers is then laid end to end, in the order of
``labelwright.engines.packed.packing``:

    prefix, kept | row, nodes, kept | row, nodes, kept | filler

Masks, positions and scales stay the model's own business: its forward pass is called both times, first with the upper
layers handing on what they are given, later with the lower ones answering what was kept. No architecture is listed
either. ``open_lower`` compares the two ways, and a model that comes out otherwise (noise in its lower layers, layers
that look past their neighbours) is trained as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from labelwright.engines.packed.decoder import HubDecoder
from labelwright.engines.packed.heads import answering
from labelwright.engines.packed.memory import is_out_of_memory
from labelwright.engines.packed.packing import KeyValues, Packed, Row, pack

# Of hidden states that are kept; rows that come later are run through the lower layers at every step.
KEPT_BYTES = 512 * 2**20
# How far the two ways may lie apart, as a share of the hidden states' norm: the noise of their number format.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}
TOLERANCE_HALF = 0.05


def blocks_of(model: Any) -> tuple[str, nn.ModuleList] | None:
    """The list of a causal model's layers, and its name within the model; None where it keeps them in no such list."""
    n_blocks = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    # Of the decoder's own: what looks at pictures may have as many.
    lists = (part for part in model.get_decoder().modules() if isinstance(part, nn.ModuleList))
    blocks = next((part for part in lists if len(part) == n_blocks), None)
    return next(((name, part) for name, part in model.named_modules() if part is blocks and part is not None), None)


def open_lower(
    model: Any, prefix: Sequence[int], rows: Sequence[Row], most_bytes: int = KEPT_BYTES
) -> LowerLayers | None:
    """The layers of a model below the lowest one that is trained.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        With the attention of ``labelwright.engines.packed.interface``.
    prefix : sequence of int
        Tokens that every row begins with.
    rows : sequence of Row
        Different ones to try it with, two or more where there are: a layer that mixes rows shows on no single one. Of
        rows with the first's answers it is kept what becomes of them; others, such as those drawn in a step, hardly
        come again.
    most_bytes : int
        Of what is kept of rows.

    Returns
    -------
    LowerLayers, or None
        None where nothing below is frozen, where no list of layers is found, or where the model does not come out the
        same.

    Raises
    ------
    MemoryError, torch.OutOfMemoryError, RuntimeError
        No memory for it: there is none for training either.
    """
    found = blocks_of(model)
    if found is None:
        return None
    blocks = found[1]
    trained = [number for number, block in enumerate(blocks) if _is_trained(block)]
    n_lower = min(trained, default=0)
    above = {id(weight) for block in blocks[n_lower:] for weight in block.parameters()}
    others = (weight for weight in model.get_decoder().parameters() if id(weight) not in above)
    if not n_lower or any(weight.requires_grad for weight in others):
        return None
    lower = LowerLayers(model, blocks, n_lower, prefix, rows[0].tree.options, most_bytes)
    was_training = model.training
    try:
        return lower if lower.comes_out_alike(rows) else None
    except Exception as error:  # whatever an architecture's own code does when layers answer what they did not compute
        if is_out_of_memory(error):
            raise
        return None
    finally:
        model.train(was_training)


class LowerLayers:
    """The frozen lower layers of a model in training, and what they made of the rows that were met.

    Parameters
    ----------
    model, prefix, most_bytes
        As in ``open_lower``.
    options : tuple of tuple of int
        Answers of the rows that are kept.
    blocks : torch.nn.ModuleList
        All layers.
    n_lower : int
        How many of them are frozen, from the first one up.

    Attributes
    ----------
    n_layers : int
        How many are not run again.
    n_bytes : int
        Of what is kept of rows.
    """

    def __init__(
        self, model: Any, blocks: nn.ModuleList, n_lower: int, prefix: Sequence[int], options: Any, most_bytes: int
    ) -> None:
        self.n_layers = n_lower
        self._model = model
        self._decoder = HubDecoder(model.get_decoder())
        self._lower, self._upper = list(blocks[:n_lower]), list(blocks[n_lower:])
        self._prefix_tokens = tuple(prefix)
        self._prefix: tuple[Tensor, KeyValues] | None = None
        self._options, self._most_bytes = options, most_bytes
        self._rows: dict[Any, Tensor] = {}
        self.n_bytes = 0

    def decode(self, packed: Packed, rows: Sequence[Row]) -> Tensor:
        """Hidden states after the last norm, (n_packed, width), with gradients of the upper layers.

        Parameters
        ----------
        packed : Packed
            The rows, whole, behind the prefix.
        """
        entering = self._entering(rows)
        # Nothing looks at filler; it only has to be numbers that a norm can take.
        filler = entering[:1].expand(packed.layout.n_filler, -1)
        entering = torch.cat([entering, filler])[None]
        with _each(self._lower, lambda *_, **__: entering):
            return self._decoder(packed)

    @torch.no_grad()
    def comes_out_alike(self, rows: Sequence[Row]) -> bool:
        """Whether rows do so both ways, and leave the lower layers alike each time that the model is training."""
        self._model.train()
        once, again = (self._run_lower(pack(rows[:1], device=self._device)) for _ in range(2))
        self._model.eval()
        # Kept each alone, and then met together.
        for row in rows:
            self._entering([row])
        packed = pack(rows, prefix_tokens=self._prefix_tokens, device=self._device)
        plain, kept = self._decoder(packed), self.decode(packed, rows)
        n_real = len(plain) - packed.layout.n_filler
        return _alike(once, again) and _alike(plain[:n_real], kept[:n_real])

    @torch.no_grad()
    def _entering(self, rows: Sequence[Row]) -> Tensor:
        """What enters the upper layers: the prefix and the rows end to end, (n_tokens, width)."""
        if self._prefix is None:
            self._prefix = self._run_prefix()
        of_prefix, key_values = self._prefix
        keys = [(row.content, row.tree.options) for row in rows]
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._rows}
        found = dict(self._rows)
        if missing:
            packed = pack(list(missing.values()), prefix=key_values or None, device=self._device)
            sizes = [row.n_new for row in missing.values()]
            states = self._run_lower(packed)[: sum(sizes)].split(sizes)
            for key, own in zip(missing, states, strict=True):
                found[key] = own
                if key[1] == self._options and self.n_bytes + own.nbytes <= self._most_bytes:
                    self._rows[key] = own.clone()
                    self.n_bytes += own.nbytes
        return torch.cat([of_prefix, *(found[key] for key in keys)])

    def _run_prefix(self) -> tuple[Tensor, KeyValues]:
        """The prefix's states, (n_prefix, width), and its keys and values, a pair a lower layer."""
        n = len(self._prefix_tokens)
        packed = pack([Row(self._prefix_tokens or (0,))], device=self._device)
        packed.layout.kept = []
        states = self._run_lower(packed)[:n]
        return states, [(keys[:, :n], values[:, :n]) for keys, values in packed.layout.kept] if n else []

    def _run_lower(self, packed: Packed) -> Tensor:
        """What leaves the lower layers, (n_packed, width)."""
        left: list[Tensor] = []

        def hand_on(hidden: Tensor, *_: Any, **__: Any) -> Tensor:
            left.append(hidden)
            return hidden

        with _each(self._upper, hand_on):
            self._decoder(packed)
        return left[0][0]

    @property
    def _device(self) -> torch.device:
        return cast("torch.device", next(self._model.parameters()).device)


def _alike(one: Tensor, other: Tensor) -> bool:
    off = (one.float() - other.float()).norm() / one.float().norm()
    return bool(off <= TOLERANCE.get(one.dtype, TOLERANCE_HALF))


def _is_trained(block: nn.Module) -> bool:
    return any(weight.requires_grad for weight in block.parameters())


@contextmanager
def _each(blocks: Sequence[nn.Module], forward: Callable[..., Any]) -> Iterator[None]:
    """Within this each of some layers answers with a function of ours."""
    with ExitStack() as stack:
        for block in blocks:
            stack.enter_context(answering(block, forward))
        yield
