"""A frozen base that is sharded (FSDP): a layer is whole for as long as it runs, and else a share of it is here.

Every decoder layer is a unit of torch's ``fully_shard``. The rest is whole in every process: the adapters on top, whose
gradients are averaged as those of any model are; and what a pass reads from its beginning to its end (embeddings,
output matrix, last norm), which would be whole all along. ``libraries`` shards a model, ``trainer`` trains it, ``loop``
leads the others through a look at dev, and ``helper`` follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from labelwright.errors import ModelError
from optimizers.training.processes.group import Group

if TYPE_CHECKING:
    import torch

# What the first process says before each of its passes, and when it makes no more.
PASS, DONE = "pass", "done"


def shard(model: Any, device: torch.device) -> None:
    """Freeze a model and shard its layers, in place; the rest goes to this process's device whole.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        On the processor; a layer at a time goes to the device.
    device : torch.device
        This process's; the others' are of the same kind.

    Raises
    ------
    ModelError
        It keeps its layers in no list, or torch cannot shard what they hold.
    """
    from torch.distributed import DeviceMesh, group
    from torch.distributed.fsdp import fully_shard

    layers = _layers(model)
    model.requires_grad_(False)
    # Of the group that there is: to make another would take all processes. By the name PEFT knows that a layer still
    # computes the whole product.
    mesh = DeviceMesh.from_group(cast(Any, group.WORLD), device.type, mesh_dim_names=("fsdp",))
    try:
        for layer in layers:
            fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    except (ValueError, NotImplementedError) as error:
        raise ModelError(
            f"{type(model).__name__} has weights that FSDP cannot shard ({' '.join(str(error).split())}): run "
            "`accelerate config` again, for several GPUs without FSDP"
        ) from error
    # The decoder is the root, of no weights of its own: it says in which order its layers are gathered.
    decoder, sharded = model.get_decoder(), {id(weight) for weight in layers.parameters()}
    whole = {weight for weight in decoder.parameters() if id(weight) not in sharded}
    fully_shard(decoder, mesh=mesh, ignored_params=whole)
    model.to(device)


def _layers(model: Any) -> torch.nn.ModuleList:
    """The list of a model's layers. ModelError where it has none."""
    from labelwright.engines.packed.lower import blocks_of

    found = blocks_of(model)
    if found is None:
        raise ModelError(
            f"{type(model).__name__} keeps its layers in no list for FSDP to shard: run `accelerate config` again, for "
            "several GPUs without FSDP"
        )
    return found[1]


def averaging(model: Any, find_unused: bool) -> Any:
    """A sharded model with what averages the gradients of its adapters, and leaves the shards alone."""
    from torch.distributed.tensor import DTensor
    from torch.nn.parallel import DistributedDataParallel

    shards = [name for name, weight in model.named_parameters() if isinstance(weight, DTensor)]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, shards)
    # Buffers are constants, alike everywhere.
    return DistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=find_unused)


@contextmanager
def led(model: Any, group: Group) -> Iterator[None]:
    """Within this the others run a pass with every pass of the first process, which alone has rows to look at.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Sharded or whole; of a whole one nobody else is asked.

    Raises
    ------
    ModelError
        A pass was given up and another begun: of a sharded model no pass can be made again.
    """
    if not group.sharded:
        yield
        return

    standing = False

    def announce(*_: Any) -> None:
        nonlocal standing
        if standing:
            # The engine begins again with fewer rows where memory ran out; the others wait in the layer where it did.
            raise ModelError(
                "no memory is left for a look at dev while the others hold its pass: launch more processes, so that "
                "each has a smaller share, or use a smaller model"
            )
        standing = True
        group.said_by_first(PASS)

    def passed(*_: Any) -> None:
        nonlocal standing
        standing = False

    layers = _layers(model)
    # Before the first layer is gathered; of the decoder a head may ask more than passes (``heads.OwnHead``).
    hooks = (layers[0].register_forward_pre_hook(announce, prepend=True), layers[-1].register_forward_hook(passed))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    group.said_by_first(DONE)


def follow(model: Any, group: Group) -> None:
    """Run a pass of one token with every pass that the first process announces, until it is done."""
    import torch

    from labelwright.engines.packed.decoder import HubDecoder
    from labelwright.engines.packed.packing import Row, pack

    decoder, was = HubDecoder(model.get_decoder()), model.training
    packed = pack([Row((0,))], device=next(model.parameters()).device)
    # Dropout would draw here as often as the first process makes passes, and later steps would drop other weights.
    model.eval()
    with torch.no_grad():
        while group.said_by_first() == PASS:
            decoder(packed)
    model.train(was)
