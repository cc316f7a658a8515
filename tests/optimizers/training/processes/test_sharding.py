"""A sharded base trains as a whole one does: the same losses, step by step, and the same adapter."""

import json
from types import SimpleNamespace

import pytest
import several_processes
import torch
from several_processes import RARE, SHORT, WHOLE, asked, ended
from tiny import tiny_model, tiny_model_folder, tiny_tokenizer
from torch.distributed import DeviceMesh

from labelwright.engines.packed.interface import ATTENTION, use_attention
from labelwright.errors import ModelError
from optimizers.training.processes.sharding import DONE, PASS, follow, led, shard

N_LAYERS = 4
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
STAGES = {
    "sft": ("sft", SHORT | {"steps": 4, "label_smoothing": 0.1, "validity": 0.01}),
    "bfloat16": ("sft", SHORT),
    "batch": ("grpo", SHORT | RARE | {"scale_rewards": "batch", "beta": 0.1}),
    "sampled": ("grpo", SHORT | {"mode": "sampled", "n_rollouts": 4, "beta": 0.1, "validity": 0.1, "lora_layers": 0.5}),
    "looks": ("sft", SHORT | {"steps": 3, "eval_every": 1}),
    "dpo": ("dpo", SHORT | {"margin": 10, "sft_weight": 0.1}),
    "scaled": ("sft", SHORT),
    "chunks": ("sft", WHOLE),
}
DTYPES = {"bfloat16": "bfloat16"}
ROUNDED = {"bfloat16": {"rel": 0.02, "of_weights": 1e-3}}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Of the Llama family, which an engine runs without the layers' hooks where it is whole."""
    return tiny_model_folder(tmp_path_factory.mktemp("model"), spread=0.1, n_layers=N_LAYERS)


@pytest.fixture(scope="module")
def trained(model, tmp_path_factory):
    """What one process leaves and what two do, of which the first was killed on the way."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    first = {"stages": {"sft": STAGES["sft"]}}
    killed = ended(several_processes.start(asked(two, model, "kill", **first, kill_first_at=3), **FSDP))
    assert [status for status, *_ in killed] == [-9, 2]
    # Of its logits the model itself is asked, with nothing in the decoder's place.
    scaled = tiny_model_folder(tmp_path_factory.mktemp("scaled"), "granite", spread=0.1, n_layers=N_LAYERS)
    more = {"stages": STAGES, "dtypes": DTYPES, "models": {"scaled": str(scaled)}}
    whole = ended(several_processes.start(asked(two, model, chunks_in="chunks", **more), **FSDP))
    assert [status for status, *_ in whole] == [0, 0], "\n".join(said for _, _, said in whole)
    several_processes.train(json.loads(asked(one, model, **more).read_text()))
    return one, two


@pytest.mark.parametrize("name", STAGES)
def test_two_processes_with_a_share_each_take_the_steps_of_one(trained, name):
    """In chunks, of which the processes have not equally many; in bfloat16 to its rounding."""
    several_processes.check_alike(*trained, name, resumed=name == "sft", **ROUNDED.get(name, {}))


def test_each_holds_half_of_the_layers_and_one_of_them_whole_while_it_runs(trained):
    """Backward the next one is on its way too; of a pass in chunks all layers stay whole there."""
    _, two = trained
    for rank in (0, 1):
        by_stage = dict(zip(STAGES, json.loads((two / f"layers-{rank}.json").read_text()), strict=True))
        for name, layers in by_stage.items():
            assert layers["here"] == layers["in_all"] / 2 > 0
            assert layers["whole_forward"] == 1 or name == "chunks"
            assert 1 <= layers["whole_backward"] <= (N_LAYERS if name == "chunks" else 2), name


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
)
def test_one_process_that_holds_all_shares_takes_the_steps_of_a_plain_one(model, tmp_path, device):
    """On a GPU the layers are gathered by NCCL, and what answers besides may stay on the processor."""
    folders = {name: tmp_path / name for name in ("one", "sharded")}
    for folder in folders.values():
        folder.mkdir()
    more = {"stages": {name: STAGES[name] for name in ("bfloat16", "batch")}, "dtypes": DTYPES}
    configured = FSDP | {"ACCELERATE_USE_CPU": "true" if device == "cpu" else "false"}
    started = several_processes.start(asked(folders["sharded"], model, **more, device="cpu"), 1, **configured)
    ((status, _, said),) = ended(started)
    assert status == 0, said
    several_processes.train(json.loads(asked(folders["one"], model, **more, device=device).read_text()))
    for name in more["stages"]:
        several_processes.check_alike(*folders.values(), name, **ROUNDED.get(name, {}))
    of_first, _ = json.loads((folders["sharded"] / "layers-0.json").read_text())
    assert (of_first["here"], of_first["on"]) == (of_first["in_all"], device)
    assert of_first["whole_forward"] == 1


def test_a_model_that_keeps_its_layers_in_no_list_is_refused(monkeypatch):
    monkeypatch.setattr("labelwright.engines.packed.lower.blocks_of", lambda model: None)
    with pytest.raises(
        ModelError, match="Module keeps its layers in no list for FSDP to shard: run `accelerate config`"
    ):
        shard(torch.nn.Module(), torch.device("cpu"))


class Words:
    """A group of two that notes what its first process says."""

    sharded = True

    def __init__(self):
        self.said = []

    def said_by_first(self, text=""):
        self.said.append(text)
        return text


def test_a_pass_that_is_given_up_ends_in_a_line_and_is_not_begun_again():
    """The engine would make it again with fewer rows, and the others wait in the layer where it was given up."""
    tokenizer = tiny_tokenizer()
    model, words = tiny_model(vocab_size=len(tokenizer)), Words()
    one_row = torch.ones(1, 3, dtype=torch.long)

    def no_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    def give_up_and_begin_again():
        hook = model.get_decoder().layers[0].register_forward_hook(no_memory)
        with pytest.raises(torch.OutOfMemoryError):
            model(one_row)
        hook.remove()
        model(one_row)

    with led(model, words):
        model(one_row)
        model(one_row)
    assert words.said == [PASS, PASS, DONE]
    with pytest.raises(ModelError, match="no memory is left for a look at dev"), led(model, words):
        give_up_and_begin_again()
    assert words.said == [PASS, PASS, DONE, PASS]
    model(one_row)
    assert words.said == [PASS, PASS, DONE, PASS], "nobody is led any more"


def test_who_follows_drops_nothing_out_and_trains_on_as_before():
    """Or dropout would draw as often as the first process makes passes, and later steps would differ by that."""
    modes = []
    model = tiny_model(vocab_size=len(tiny_tokenizer())).train()
    use_attention(model, ATTENTION)
    model.get_decoder().layers[0].register_forward_pre_hook(lambda *_: modes.append(model.training))
    words = iter([PASS, PASS, DONE])
    follow(model, SimpleNamespace(said_by_first=lambda: next(words)))
    assert modes == [False, False]
    assert model.training


def test_what_torch_cannot_shard_is_refused_in_one_line(monkeypatch):
    def cannot(*_, **__):
        raise ValueError("fully_shard doesn't support scalar parameters.\nChange it")

    monkeypatch.setattr("torch.distributed.fsdp.fully_shard", cannot)
    monkeypatch.setattr(DeviceMesh, "from_group", lambda *_, **__: None)
    model = tiny_model(vocab_size=len(tiny_tokenizer()))
    with pytest.raises(ModelError, match=r"LlamaForCausalLM has weights that FSDP cannot shard \(fully_shard doesn't"):
        shard(model, torch.device("cpu"))
