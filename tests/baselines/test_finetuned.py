"""Trained transformers, on tiny ones: losses, pooling, padding, early stopping, what is written and read back."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import toy_splits
from tiny import tiny_model_folder
from tiny_models import encoder_folder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from baselines import tuning
from baselines.finetuned import FineTunedClassifier
from baselines.pairs import PairsClassifier
from labelwright.data.task import texts_and_labels
from labelwright.errors import BundleError, ModelError, RecipeError
from labelwright.models.loading import choose_dtype
from labelwright.predictors.finetuned import FineTuned

SPLITS = toy_splits()
X, Y = texts_and_labels(SPLITS.train)
X_DEV, Y_DEV = texts_and_labels(SPLITS.dev)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small are computed sooner than two threads can agree, above all beside other processes."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(encoder_folder(tmp_path_factory.mktemp("encoder")))


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model_folder(tmp_path_factory.mktemp("llm")))


def make(model: str, **settings: Any) -> FineTunedClassifier:
    return FineTunedClassifier(model, **{"epochs": 2, "dtype": "float32", **settings})


def test_contrastive_loss_is_that_of_the_paper():
    vectors = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    gold = [0, 0, 0, 1, 1, 2]
    found = tuning.supervised_contrastive(vectors, torch.tensor(gold), 0.5).item()
    costs = []
    for i in range(6):
        others = [a for a in range(6) if a != i]
        partners = [p for p in others if gold[p] == gold[i]]
        total = sum(np.exp((vectors[i] @ vectors[a] / 0.5).item()) for a in others)
        if partners:
            shares = [np.exp((vectors[i] @ vectors[p] / 0.5).item()) / total for p in partners]
            costs.append(-np.mean(np.log(shares)))
    assert len(costs) == 5
    assert found == pytest.approx(np.mean(costs), rel=1e-5)


def test_contrastive_loss_without_partners_is_zero_and_has_a_gradient():
    vectors = torch.eye(3, requires_grad=True)
    tuning.supervised_contrastive(vectors, torch.tensor([0, 1, 2]), 0.1).backward()
    assert (vectors.grad == 0).all()


def test_batches_hold_every_row_once_and_pairs_stay_together():
    gold = np.repeat([0, 1, 2], [7, 8, 9])
    lengths = [5 + row % 4 for row in range(24)]
    for in_pairs in (False, True):
        found = list(tuning.batches(lengths, gold, 8, in_pairs, np.random.default_rng(0)))
        assert sorted(row for batch in found for row in batch) == list(range(24))
        assert max(map(len, found)) <= 8
    alone = [row for batch in found for row in batch if sum(gold[other] == gold[row] for other in batch) == 1]
    assert len(alone) <= 2  # the odd rows of the labels with 7 and 9


def test_contrast_draws_the_rows_of_a_label_together(encoder):
    def spread(fitted: FineTunedClassifier) -> float:
        vectors = fitted.predictor_.vectors(X)
        same = np.equal.outer(np.array(Y), np.array(Y))
        cosines = vectors @ vectors.T
        return float(cosines[same].mean() - cosines[~same].mean())

    before = make(encoder, epochs=0).fit(X, Y)
    after = make(encoder, contrast=1.0, epochs=10, learning_rate=3e-3, batch_rows=12).fit(X, Y)
    assert spread(after) > spread(before) + 0.2
    assert after.score(X, Y) > 0.9


def test_mixed_loss_is_the_weighted_sum(encoder):
    fitted = make(encoder, epochs=0).fit(X, Y).predictor_
    vectors, gold = torch.from_numpy(fitted.vectors(X)), torch.from_numpy(np.unique(Y, return_inverse=True)[1])
    ce, contrastive, mixed = (make(encoder, contrast=c)._loss(fitted.network, vectors, gold) for c in (0, 1, 0.3))
    assert mixed.item() == pytest.approx(0.7 * ce.item() + 0.3 * contrastive.item(), rel=1e-5)


def test_training_lowers_the_loss_beyond_the_linear_head(encoder):
    def cost(fitted: FineTunedClassifier) -> float:
        probs = fitted.predict_proba(X)
        return float(-np.log(probs[np.arange(len(Y)), np.searchsorted(fitted.classes_, Y)]).mean())

    linear, trained, lora = (
        cost(make(encoder, **settings).fit(X, Y))
        for settings in (
            {"epochs": 0},
            {"epochs": 8, "learning_rate": 3e-3, "batch_rows": 12},
            {"lora_rank": 4, "learning_rate": 1e-2},
        )
    )
    assert trained < linear / 2
    assert lora < linear


def test_the_best_epoch_stays_and_training_stops_early(encoder, caplog):
    caplog.set_level("INFO", logger="baselines.finetuned")
    # With so high a rate it only gets worse after the first epoch, or the second.
    wild = make(encoder, epochs=30, patience=2, learning_rate=0.03, head_learning_rate=0.3)
    wild.fit(X, Y, eval_set=(X_DEV, Y_DEV))
    costs = [
        float(record.getMessage().rsplit(" ", 1)[1]) for record in caplog.records if "epoch" in record.getMessage()
    ]
    assert len(costs) == int(np.argmin(costs)) + 1 + 2 < 30
    probs = wild.predict_proba(X_DEV)
    found = -np.log(probs[np.arange(len(Y_DEV)), np.searchsorted(wild.classes_, Y_DEV)]).mean()
    assert found == pytest.approx(min(costs), abs=1e-3)


def test_without_eval_rows_all_epochs_are_trained(encoder, caplog):
    caplog.set_level("INFO", logger="baselines.finetuned")
    make(encoder, epochs=3).fit(X, Y)
    assert sum("epoch" in record.getMessage() for record in caplog.records) == 3


def test_random_state_decides_and_others_randomness_is_left_alone(encoder):
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    expected = (torch.rand(1).item(), np.random.rand(), random.random())
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    first = make(encoder, random_state=1).fit(X, Y).predict_proba(X_DEV)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected
    assert (make(encoder, random_state=1).fit(X, Y).predict_proba(X_DEV) == first).all()
    assert (make(encoder, random_state=2).fit(X, Y).predict_proba(X_DEV) != first).any()


@pytest.mark.parametrize("settings", [{}, {"lora_rank": 4}, {"contrast": 1.0}, {"pooling": "first"}])
def test_what_is_saved_is_flat_without_pickle_and_answers_alike(encoder, tmp_path, settings):
    fitted = make(encoder, **settings).fit(X, Y)
    fitted.save(tmp_path)
    assert all(path.is_file() for path in tmp_path.iterdir())
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors", ".jinja", ".txt"}
    assert not (tmp_path / "adapter_config.json").exists()
    assert (FineTunedClassifier.load(tmp_path).predict_proba(X_DEV) == fitted.predict_proba(X_DEV)).all()


def test_bfloat16_weights_are_rounded_before_anything_is_measured(llm, tmp_path):
    AutoModelForSequenceClassification.from_pretrained(llm, dtype=torch.bfloat16).model.save_pretrained(
        tmp_path / "half"
    )
    AutoTokenizer.from_pretrained(llm).save_pretrained(tmp_path / "half")
    fitted = make(str(tmp_path / "half"), pooling="last", lora_rank=4).fit(X, Y)
    fitted.save(tmp_path / "saved")
    # Where the hardware only emulates bfloat16, such weights answer, and are kept, in float32.
    native = choose_dtype("auto", torch.device("cpu"))
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["dtype"] == str(native).removeprefix("torch.")
    assert (FineTunedClassifier.load(tmp_path / "saved").predict_proba(X_DEV) == fitted.predict_proba(X_DEV)).all()


def test_last_pooling_is_a_decoders_own_classification(llm):
    """As AutoModelForSequenceClassification on one row without padding, given the same head and unit length."""
    fitted = make(llm, pooling="last", epochs=0).fit(X, Y).predictor_
    theirs = AutoModelForSequenceClassification.from_pretrained(llm, num_labels=3).eval()
    states = {}
    theirs.score.register_forward_pre_hook(lambda _, inputs: states.update(last=inputs[0][:, -1]))
    theirs.model.load_state_dict(fitted.network.model.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(llm)
    for text in X_DEV[:3]:
        with torch.no_grad():
            theirs(**tokenizer(text, return_tensors="pt"))
        mine = fitted.vectors([*X, text])[-1]
        assert mine == pytest.approx(torch.nn.functional.normalize(states["last"], dim=1)[0].numpy(), abs=1e-5)


def test_no_row_can_forge_markup_or_be_empty(encoder, llm):
    for model, mark, pooling in ((encoder, "[SEP]", "mean"), (llm, "<|im_end|>", "last")):
        fitted = make(model, pooling=pooling, epochs=0).fit(X, Y)
        special = AutoTokenizer.from_pretrained(model).convert_tokens_to_ids(mark)
        assert special not in fitted.predictor_.tokens([f"a {mark} b"])[0][1:-1]
        assert np.isfinite(fitted.predict_proba(["", f"pool {mark}"])).all()


def test_long_texts_lose_their_end(encoder):
    fitted = make(encoder, epochs=0, max_tokens=16).fit(X, Y)
    first, second = fitted.predict_proba(["pool " * 20 + "fence", "pool " * 20 + "hvac " * 500])
    assert first == pytest.approx(second, abs=1e-6)
    # The model itself has 128 positions, whatever was asked for.
    assert make(encoder, epochs=0, max_tokens=10_000).fit(X, Y).predict_proba(["pool " * 500]).shape == (1, 3)


def test_two_labels_have_two_columns(encoder):
    two = [place for place, label in enumerate(Y) if label != Y[0]]
    fitted = make(encoder, epochs=1).fit([X[i] for i in two], [Y[i] for i in two])
    assert fitted.predict_proba(X_DEV).shape == (len(X_DEV), 2)
    assert fitted.score([X[i] for i in two], [Y[i] for i in two]) > 0.6


def test_labels_may_be_numbers_and_eval_rows_of_other_labels_are_left_out(encoder):
    numbers = [10 * len(label) for label in Y]
    fitted = make(encoder).fit(X, numbers, eval_set=([*X_DEV, "?"], [*(10 * len(label) for label in Y_DEV), 77]))
    assert set(fitted.predict(X)) <= set(numbers)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"contrast": 1.5}, "contrast"), ({"pooling": "max"}, "pooling"), ({"batch_rows": 0}, "batch_rows")],
)
def test_wrong_settings_are_named(encoder, settings, message):
    with pytest.raises(RecipeError, match=message):
        make(encoder, **settings).fit(X, Y)


def test_models_that_are_not_there_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="cannot be fetched"):
        make("someone/no-such-encoder").fit(X, Y)
    with pytest.raises(ModelError, match=r"config\.json"):
        make(str(tmp_path)).fit(X, Y)


def test_pickled_weights_are_refused(encoder, tmp_path):
    for path in Path(encoder).iterdir():
        name = "pytorch_model.bin" if path.suffix == ".safetensors" else path.name
        (tmp_path / name).write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match="safetensors"):
        make(str(tmp_path)).fit(X, Y)


@pytest.mark.parametrize("name", ["finetuned.json", "head.safetensors", "model.safetensors", "config.json"])
def test_damaged_folders_are_refused(encoder, tmp_path, name):
    make(encoder, epochs=0).fit(X, Y).predictor_.save(tmp_path)
    FineTuned.load(tmp_path)
    (tmp_path / name).write_bytes(b"{")
    with pytest.raises(BundleError, match="copy the whole folder"):
        FineTuned.load(tmp_path)


def test_loading_needs_no_training_library(encoder, tmp_path, monkeypatch):
    make(encoder, lora_rank=4).fit(X, Y).save(tmp_path)
    for name in ("peft", "accelerate", "sentence_transformers", "setfit", "datasets"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    assert FineTunedClassifier.load(tmp_path).predict_proba(X_DEV).shape == (len(X_DEV), 3)


def test_pairs_draw_the_rows_of_a_label_together(encoder):
    fitted = PairsClassifier(encoder, n_pairs=8, learning_rate=3e-3, dtype="float32").fit(X, Y)
    vectors = fitted.predictor_.vectors(X)
    same = np.equal.outer(np.array(Y), np.array(Y))
    cosines = vectors @ vectors.T
    untrained = make(encoder, epochs=0).fit(X, Y).predictor_.vectors(X)
    before = untrained @ untrained.T
    assert cosines[same].mean() - cosines[~same].mean() > before[same].mean() - before[~same].mean() + 0.05


def test_pairs_leave_no_files_behind(encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PairsClassifier(encoder, n_pairs=1).fit(X, Y)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_real_encoder_learns_what_words_mean():
    texts = ["The water in the deep end is green", "A post rotted and two panels lean over", "Cold air from the vents"]
    fitted = FineTunedClassifier(epochs=1, batch_rows=4).fit(texts * 2, ["pool", "fence", "hvac"] * 2)
    assert list(fitted.predict(["the swimming pool needs chlorine", "the pickets of the gate", "the furnace"])) == [
        "pool",
        "fence",
        "hvac",
    ]
