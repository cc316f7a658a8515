"""Training on rows with images: the engine's own scores, gradients for the decoder alone, in every mode."""

import numpy as np
import pytest
import torch
from shown import TASK, shown_examples
from tiny_vision import FAMILIES, tiny_vision_folder
from trl import GRPOConfig

from labelwright.decide import option_scores
from labelwright.engines.images.plain import score_cached
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError, ModelError
from labelwright.models.weights import Base
from labelwright.pictures.imaged import image_of, imaged
from labelwright.prompt import Prompt
from optimizers.training.libraries import lora_config
from optimizers.training.rows import LabelRows
from optimizers.training.settings import Objective
from optimizers.training.sft import SftStage
from optimizers.training.trainer import LabelTreeTrainer
from optimizers.training.weights import for_training, trainable

ARGS = {
    "per_device_train_batch_size": 16,
    "num_generations": 4,
    "max_completion_length": 8,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": [],
    "max_steps": 1,
    "disable_tqdm": True,
    "save_strategy": "no",
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LABELWRIGHT_CACHE", str(tmp_path / "cache"))


def made(tmp_path, family, mode="exact", stage=None, **changes):
    """A trainer over a family's model, with what it was made of."""
    examples = shown_examples(tmp_path / "rows", 6)
    # The words of the first row and of another label's image: told apart by nothing else.
    examples[3] = examples[3].__class__("3", imaged("which colour is this", image_of(examples[1].text)), "green")
    weights = Base(str(tiny_vision_folder(tmp_path / "model", family, spread=0.1)))
    engine = open_engine(weights, EngineSettings(device="cpu", dtype="float32", unexpanded_mass=0.0))
    prompt = Prompt.for_task(TASK, engine.template, style="code")
    rows = LabelRows.from_examples(examples, prompt, engine)
    model = for_training(weights, "cpu", "float32", stage is None)
    trainer = LabelTreeTrainer(
        rows=rows,
        objective=Objective(mode, n_rollouts=4),
        images=engine.images.with_model(model),
        model=model,
        args=GRPOConfig(str(tmp_path / "out"), **ARGS | changes),
        processing_class=engine.tokenizer,
        peft_config=None if stage is None else lora_config(stage, model),
    )
    return trainer, engine, prompt, examples


@pytest.mark.parametrize("family", FAMILIES)
def test_it_scores_rows_as_the_engine_does(tmp_path, family):
    trainer, engine, prompt, examples = made(tmp_path, family)
    with torch.no_grad():
        scores = trainer.label_scores(range(len(examples))).numpy()
    np.testing.assert_allclose(scores, option_scores(prompt, engine, [one.text for one in examples]), atol=1e-3)
    assert np.abs(scores[0] - scores[3]).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES[:2])
@pytest.mark.parametrize("mode", ["exact", "cross_entropy", "sampled"])
def test_a_step_changes_the_decoder_and_not_what_sees(tmp_path, family, mode):
    trainer, *_ = made(tmp_path, family, mode, SftStage(), max_steps=2, learning_rate=1e-2)
    names = [name for name, weight in trainer.model.named_parameters() if weight.requires_grad]
    assert names
    assert not [name for name in names if "visual" in name or "vision" in name or "connector" in name]
    before = [weight.clone() for _, weight in trainer.model.named_parameters() if weight.requires_grad]
    trainer.train()
    after = [weight for _, weight in trainer.model.named_parameters() if weight.requires_grad]
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_frozen_layers_keep_what_they_made_of_each_image(tmp_path):
    """Images of one size have the same tokens: what is kept of a row is by its image, too."""
    stage = SftStage(lora_layers=0.5)
    trainer, engine, prompt, examples = made(tmp_path, "idefics3", "exact", stage)
    assert trainer.lower is not None
    with torch.no_grad():
        for _ in range(2):
            scores = trainer.label_scores(range(len(examples))).numpy()
    np.testing.assert_allclose(scores, option_scores(prompt, engine, [one.text for one in examples]), atol=1e-3)


def test_what_is_trained_on_is_told_apart_by_its_images(tmp_path):
    _, engine, prompt, examples = made(tmp_path, "idefics3")
    rows = LabelRows.from_examples(examples, prompt, engine)
    other = LabelRows.from_examples([*examples[1:], examples[0]], prompt, engine)
    assert rows.contents() != other.contents()
    assert len(set(rows.rows)) == len(set(rows.texts)) == len(rows.rows)


def test_all_images_that_are_gone_are_told_at_once(tmp_path):
    _, engine, prompt, examples = made(tmp_path, "idefics3")
    gone = [one.__class__(one.id, imaged("x", f"{n}" * 64), one.label) for n, one in enumerate(examples)]
    with pytest.raises(DataError, match=r"row 1: image 1111.* is not kept .*row 2: image 2222"):
        LabelRows.from_examples([examples[0], *gone[1:3]], prompt, engine)


def test_a_model_that_is_not_followed_cannot_be_trained(tmp_path):
    engine = open_engine(Base(str(tiny_vision_folder(tmp_path / "model"))), EngineSettings(device="cpu"))
    assert trainable(engine, "sft") is engine
    engine.slow = score_cached
    with pytest.raises(ModelError, match="sft trains in packed passes"):
        trainable(engine, "sft")
