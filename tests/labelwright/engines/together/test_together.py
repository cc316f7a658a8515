"""Several bundles in one: saved, read, damaged, answered; each member as it would answer alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits, toy_task
from sklearn.linear_model import LogisticRegression
from word_encoder import WordEncoder

import baselines
from labelwright.bundle import files as bundle_files
from labelwright.bundle.card import card, needed_package
from labelwright.bundle.making import predictor_bundle, together_bundle
from labelwright.bundle.store import load, members_of, save, verify
from labelwright.bundle.types import Bundle
from labelwright.cli import main
from labelwright.conversion import targets
from labelwright.data.choices import lettered
from labelwright.data.task import Label, Task, texts_and_labels
from labelwright.decide import probabilities
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import score_options
from labelwright.engines.settings import EngineSettings
from labelwright.engines.together.engine import Member, TogetherEngine
from labelwright.engines.together.plan import Level, Plan, average
from labelwright.errors import BundleError, DataError
from labelwright.models.weights import Base, Together
from labelwright.predictors import embeddings
from labelwright.predictors.embeddings import EmbeddingHead
from labelwright.predictors.encoders import sentence_encoder
from labelwright.predictors.prior import Prior
from labelwright.predictors.store import save_predictor
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration

SPLITS = toy_splits()
X, Y = texts_and_labels(SPLITS.train)
TEXTS = [row.text for row in SPLITS.dev]
MEAN = Plan((Level((0.6, 0.4)),))
CASCADE = Plan((Level((1.0, 0.0), 0.9), Level((0.0, 1.0))))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Two calibrated bundles of n-grams."""
    folder = tmp_path_factory.mktemp("parts")
    for name in ("sgd-ngrams", "sgd-chars"):
        baselines.make(name, toy_task(), 0).fit(X, Y).save(folder / name / "trained")
        bundle = predictor_bundle(toy_task(), name, folder / name / "trained", Calibration(3.0, (0.1, 0.0, -0.1)))
        save(bundle, folder / name / "bundle", engine=open_engine(bundle.weights), golden=SPLITS.dev[:2])
    return {name: folder / name / "bundle" for name in ("sgd-ngrams", "sgd-chars")}


def built(parts: Mapping[str, Path], folder: Path, plan: Plan = MEAN, calibration: Calibration | None = None) -> Bundle:
    bundle = together_bundle(
        toy_task(), "ensemble", plan, parts, folder / "staging", calibration or Calibration(0.8, (0.0, 0.2, 0.0))
    )
    saved = save(bundle, folder / "b", engine=open_engine(bundle.weights), golden=SPLITS.dev)
    shutil.rmtree(folder / "staging")
    return saved


def reseal(folder: Path) -> None:
    """As someone would who alters a bundle and knows how hashes are written."""
    bundle_files.write_hashes(folder)


def test_it_answers_with_the_mean_of_its_members_and_as_recorded(parts, tmp_path):
    bundle = built(parts, tmp_path)
    assert bundle == load(tmp_path / "b")
    assert bundle.weights == Together("ensemble", tmp_path / "b" / "together")
    each = [probabilities(load(one), open_engine(load(one).weights), TEXTS) for one in parts.values()]
    expected = bundle.calibration.apply(average(each, (0.6, 0.4), "log"))
    engine = open_engine(bundle.weights)
    np.testing.assert_allclose(probabilities(bundle, engine, TEXTS), expected)
    assert engine.generate(bundle.prompt.render_all(TEXTS[:1]), stop=["\n"])[0].strip() in toy_task().names
    found = verify(tmp_path / "b", engine)
    assert (found.ok, found.n_golden, found.max_difference) == (True, len(SPLITS.dev), 0.0)


def test_a_cascade_answers_with_the_first_that_is_sure(parts, tmp_path):
    first, second = (probabilities(load(one), open_engine(load(one).weights), TEXTS) for one in parts.values())
    threshold = float(np.sort(first.max(axis=1))[4:6].mean())
    sure = first.max(axis=1) >= threshold
    assert 0 < sure.sum() < len(TEXTS)
    plan = Plan((Level((1.0, 0.0), threshold), Level((0.0, 1.0))))
    bundle = built(parts, tmp_path, plan, Calibration())
    found = probabilities(bundle, open_engine(bundle.weights), TEXTS)
    np.testing.assert_allclose(found, np.where(sure[:, None], first, second))


def test_each_member_answers_alone_and_equal_bundles_are_equal_bytes(parts, tmp_path):
    bundle = built(parts, tmp_path)
    for member, (name, folder) in zip(members_of(bundle.weights), parts.items(), strict=True):
        assert (member.weights.base, member.calibration) == (name, load(folder).calibration)
    again = save(bundle, tmp_path / "again", engine=open_engine(bundle.weights), golden=SPLITS.dev)
    assert replace(again, weights=bundle.weights) == bundle
    one, other = (
        {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        for place in (tmp_path / "b", tmp_path / "again")
    )
    assert one == other


def test_what_is_shared_by_name_is_not_in_it(parts, tmp_path):
    bundle = together_bundle(
        toy_task(), "ensemble", MEAN, {"a": _base(tmp_path / "a"), **_first(parts)}, tmp_path / "s", Calibration()
    )
    saved = save(bundle, tmp_path / "b")
    assert not list((tmp_path / "b" / "together" / "0").rglob("*.safetensors"))
    assert needed_package(saved) == '"labelwright[transformers]"'
    assert "The base model is not in this folder: `fake`" in card(saved)


def test_models_that_are_the_same_are_opened_once(tmp_path):
    members = {name: _base(tmp_path / name) for name in "ab"}
    bundle = together_bundle(toy_task(), "ensemble", MEAN, members, tmp_path / "s", Calibration())
    asked: list[tuple[object, EngineSettings]] = []

    def opener(weights, settings):
        asked.append((weights, settings))
        return object()

    assert isinstance(bundle.weights, Together)
    engine = TogetherEngine.open(bundle.weights, EngineSettings(long_rows="head", thinking_tokens=9), opener)
    assert [one.engine for one in engine.members] == [engine.members[0].engine] * 2
    assert asked == [(Base("fake"), EngineSettings(long_rows="head", thinking_tokens=0))]


def test_members_leave_nothing_unexpanded_where_nothing_may_be():
    class Expanding(FakeEngine):
        unexpanded_mass = 0.1

        def score(self, prompts, options, calibration=None):
            asked.append(calibration)
            return super().score(prompts, options)

    asked: list[Calibration | None] = []
    bundle = replace(toy_bundle(), calibration=Calibration(2.0))
    engine = TogetherEngine(Plan((Level((1.0,)),)), [Member(bundle, Expanding())], "ensemble")
    prompts = Prompt.for_task(toy_task(), engine.template)
    for calibration in (None, Calibration()):
        score_options(engine, prompts.render_all(["the pool"]), prompts.options, calibration)
    assert asked == [None, bundle.calibration]
    assert engine.unexpanded_mass == 0.1


def test_a_lost_member_is_a_lost_engine():
    members = [Member(toy_bundle(), FakeEngine()) for _ in range(2)]
    engine = TogetherEngine(Plan((Level((0.5, 0.5)),)), members, "ensemble")
    assert engine.is_alive
    members[1].engine.is_alive = False
    assert not engine.is_alive


def test_members_that_share_an_encoder_share_its_pass_and_answer_the_same(tmp_path, monkeypatch):
    """The second member's answer costs no second pass, not even for the part of the rows that reaches it."""
    encoder, encoded = WordEncoder(), []

    class Model:
        def encode(self, texts, **settings):
            encoded.append(list(texts))
            return encoder.embed(texts)

    shared = sentence_encoder.Encoder(Model(), tmp_path)
    monkeypatch.setattr(sentence_encoder, "token_room", lambda model: 0)
    monkeypatch.setattr(embeddings, "open_encoder", lambda name: shared)
    gold = [toy_task().names.index(label) for label in Y]
    members = {}
    for name, strength in (("weak", 0.3), ("strong", 30.0)):
        head = LogisticRegression(C=strength).fit(encoder.embed(X), gold)
        save_predictor(EmbeddingHead("minilm", head), toy_task().names, tmp_path / name)
        members[name] = tmp_path / f"{name}-bundle"
        save(predictor_bundle(toy_task(), name, tmp_path / name, Calibration()), members[name])
    alone = [probabilities(load(one), open_engine(load(one).weights), TEXTS) for one in members.values()]
    for number, plan in enumerate((MEAN, Plan((Level((1.0, 0.0), 0.5), Level((0.0, 1.0)))))):
        encoded.clear()
        bundle = together_bundle(toy_task(), "x", plan, members, tmp_path / f"s{number}", Calibration())
        found = probabilities(bundle, open_engine(bundle.weights), TEXTS)
        assert encoded == [list(dict.fromkeys(TEXTS))]
        expected = plan.answer(lambda member, rows: alone[member][rows], len(TEXTS), 3).log_probs
        np.testing.assert_allclose(found, np.exp(expected))
    encoded.clear()
    probabilities(load(members["weak"]), open_engine(load(members["weak"]).weights), TEXTS)
    assert encoded == [TEXTS], "outside of a pass nothing is remembered, so that what it costs can be measured"


def test_rows_that_bring_their_own_choices_are_answered(tmp_path):
    task = Task("t", "Which floats?", (), 3)
    members = {}
    for name, shares in (("a", [0.6, 0.3, 0.1]), ("b", [0.2, 0.3, 0.5])):
        save_predictor(Prior(np.array(shares)), task.names, tmp_path / "fitted" / name)
        members[name] = tmp_path / f"{name}-bundle"
        save(predictor_bundle(task, name, tmp_path / "fitted" / name, Calibration()), members[name])
    bundle = together_bundle(task, "ensemble", Plan((Level((1.0, 1.0)),), "probability"), members, tmp_path / "s",
                             Calibration())  # fmt: skip
    loaded = save(bundle, tmp_path / "b")
    texts = [lettered("what floats?", ["wood", "stone"], "x"), lettered("?", ["a", "b", "c"], "x")]
    found = probabilities(loaded, open_engine(loaded.weights), texts)
    first, second = np.array([[2 / 3, 1 / 3, 0], [0.4, 0.6, 0]])
    np.testing.assert_allclose(found, [(first + second) / 2, [0.4, 0.3, 0.3]])


# ------------------------------------------------------------------------------------------------ what is not accepted


def test_a_member_that_holds_members_is_refused(parts, tmp_path):
    inner = built(parts, tmp_path / "inner")
    assert inner.weights.folder
    bundle = together_bundle(
        toy_task(), "x", MEAN, {"a": tmp_path / "inner" / "b", **_first(parts)}, tmp_path / "s", Calibration()
    )
    with pytest.raises(BundleError, match="holds bundles itself, which a member may not"):
        save(bundle, tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("labels", [("fence", "pool", "hvac"), ("pool", "fence")])
def test_members_of_other_labels_are_refused(parts, tmp_path, labels):
    task = Task("toy", "Which?", tuple(map(Label, labels)))
    save_predictor(Prior(np.full(len(labels), 1 / len(labels))), labels, tmp_path / "p")
    save(predictor_bundle(task, "other", tmp_path / "p", Calibration()), tmp_path / "other")
    bundle = together_bundle(
        toy_task(), "x", MEAN, {"other": tmp_path / "other", **_first(parts)}, tmp_path / "s", Calibration()
    )
    with pytest.raises(BundleError, match="its member 'other' has other labels than the whole, or in another order"):
        save(bundle, tmp_path / "b")


def _flip(folder: Path) -> None:
    path = next((folder / "together" / "1" / "predictor").glob("*.safetensors"), None) or next(
        path for path in sorted((folder / "together" / "1" / "predictor").iterdir()) if path.name != "predictor.json"
    )
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _code(folder: Path) -> None:
    (folder / "together" / "0" / "predictor" / "model.py").write_text("print('run')")


def _link(folder: Path) -> None:
    shutil.move(folder / "together" / "1", folder.parent / "elsewhere")
    (folder / "together" / "1").symlink_to(folder.parent / "elsewhere")


def _beside(folder: Path) -> None:
    (folder / "together" / "notes.txt").write_text("?")


def _folder_beside(folder: Path) -> None:
    shutil.copytree(folder / "together" / "1", folder / "together" / "2")


def _gone(folder: Path) -> None:
    shutil.rmtree(folder / "together" / "1")


def _plan_gone(folder: Path) -> None:
    (folder / "together" / "together.json").unlink()


@pytest.mark.parametrize("alter", [_flip, _code, _link, _beside, _folder_beside, _gone, _plan_gone])
@pytest.mark.parametrize("sealed", [False, True], ids=["damaged", "by someone who knows"])
def test_whatever_is_altered_is_refused(parts, tmp_path, alter: Callable[[Path], None], sealed):
    built(parts, tmp_path)
    alter(tmp_path / "b")
    if sealed:
        try:
            reseal(tmp_path / "b")
        except BundleError:  # a link is no file
            return
    with pytest.raises(BundleError) as caught:
        load(tmp_path / "b")
    assert "\n" not in str(caught.value)


def test_other_questions_and_other_runtimes_are_refused(parts, tmp_path):
    bundle = built(parts, tmp_path)
    engine = open_engine(bundle.weights)
    with pytest.raises(BundleError, match="does not know the option ' roof'"):
        engine.score(bundle.prompt.render_all(TEXTS[:1]), (" roof",))
    for to in ("huggingface", "onnx"):
        with pytest.raises(BundleError, match="is several classifiers, which no target takes"):
            targets.check(bundle, to, "")


def test_the_command_line_answers_checks_and_refuses(parts, tmp_path, capsys):
    built(parts, tmp_path, CASCADE)
    assert main(["check", str(tmp_path / "b")]) == 0
    assert "answered as recorded" in capsys.readouterr().out
    assert main(["predict", str(tmp_path / "b"), "the skimmer of the pool"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("  pool ")
    assert main(["predict", str(tmp_path / "b" / "together" / "1"), "the skimmer of the pool"]) == 0
    assert main(["predict", str(tmp_path / "b"), "x", "--url", "http://127.0.0.1:9"]) == 2
    assert "2 small classifiers that run in this process" in capsys.readouterr().err
    told = (tmp_path / "b" / "README.md").read_text()
    assert "asked in turn, the cheapest first: sgd-ngrams where it is sure to 90.0%, else sgd-chars" in told


def test_a_row_that_a_member_refuses_has_its_number_among_all():
    class Refuses:
        n_shortened = 0
        name = "refuses"

        def __init__(self, sure: bool) -> None:
            self.sure = sure

        def score(self, prompts, options):
            if not self.sure:
                raise DataError(f"row 2 ({prompts[1].user[:40]!r}…): 900 tokens")
            return np.log([[0.9, 0.05, 0.05] if "sure" in one.user else [0.4, 0.3, 0.3] for one in prompts])

    members = [Member(toy_bundle(), Refuses(sure)) for sure in (True, False)]  # type: ignore[arg-type]
    engine = TogetherEngine(Plan((Level((1, 0), 0.8), Level((0, 1)))), members, "cascade")
    with pytest.raises(DataError, match=r"row 4 \('long'…\): 900 tokens"):
        engine.answer(["sure", "other", "sure", "long"])


def _base(folder: Path) -> Path:
    save(toy_bundle(), folder)
    return folder


def _first(parts: Mapping[str, Path]) -> dict[str, Path]:
    return dict(list(parts.items())[:1])
