"""Bundles that a disk damaged or a stranger wrote: refused in one line, or answered as before. No traceback, no hang.

A few hundred by default; ``DAMAGED_BUNDLES=2000`` makes as many of each kind.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import damage
import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_examples, toy_splits, toy_task

from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import load, save, verify
from labelwright.bundle.types import Bundle
from labelwright.cli import main
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import BundleError
from labelwright.models import names as model_names
from labelwright.models.weights import Adapter, Base, Full, Weights
from labelwright.predictors.pipeline import TextPipeline
from labelwright.predictors.store import save_predictor
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration

N_MORE = int(os.environ.get("DAMAGED_BUNDLES", "0"))
ROWS, DEV = toy_splits().train, toy_splits().dev[:4]
SECONDS = 30


@pytest.fixture
def in_time() -> Iterator[None]:
    """A hang is a failure, too."""

    def stop(*_: object) -> None:
        raise AssertionError(f"still at it after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def small_bundle(folder: Path, kind: str) -> Bundle:
    import baselines

    texts, labels = [row.text for row in ROWS], [row.label for row in ROWS]
    if kind == "pipeline":
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        classes = sorted(set(labels))
        fitted = make_pipeline(CountVectorizer(), LogisticRegression()).fit(
            texts, [classes.index(one) for one in labels]
        )
        save_predictor(TextPipeline(fitted), classes, folder / "trained")
    else:
        name = {"ngrams": "sgd-ngrams", "prior": "majority"}[kind]
        baselines.make(name, toy_task(), 0).fit(texts, labels).save(folder / "trained")
    return predictor_bundle(toy_task(), kind, folder / "trained", Calibration(0.7, (0.1, 0.0, -0.1)))


def static_bundle(folder: Path) -> Bundle:
    from static_model import static_model_folder

    from baselines.embeddings import EmbeddingClassifier

    encoder = f"model2vec:{static_model_folder(folder / 'static')}"
    texts, labels = [row.text for row in ROWS], [row.label for row in ROWS]
    EmbeddingClassifier("logreg", encoder, strengths=[1.0]).fit(texts, labels).save(folder / "trained")
    model_names.allow(encoder)
    return predictor_bundle(toy_task(), "static", folder / "trained", Calibration(0.7))


def finetuned_bundle(folder: Path) -> Bundle:
    from tiny_models import encoder_folder

    from baselines.finetuned import FineTunedClassifier

    texts, labels = [row.text for row in ROWS], [row.label for row in ROWS]
    FineTunedClassifier(str(encoder_folder(folder / "bert")), epochs=0).fit(texts, labels).save(folder / "trained")
    return predictor_bundle(toy_task(), "tuned", folder / "trained", Calibration(0.7))


def model_bundle(folder: Path, kind: str) -> Bundle:
    from tiny import tiny_model, tiny_model_folder

    base = Base(str(tiny_model_folder(folder / "base")))
    template = open_engine(base, EngineSettings(device="cpu", dtype="float32")).template
    weights: Weights = Full(base.base, folder / "base") if kind == "full" else base
    if kind == "adapter":
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
        get_peft_model(tiny_model(vocab_size=400), settings).save_pretrained(folder / "adapter")
        weights = Adapter(base.base, folder / "adapter")
    return Bundle(toy_task(), Prompt.for_task(toy_task(), template), weights, Calibration(1.3))


MAKE: dict[str, Callable[[Path], Bundle]] = {
    "ngrams": lambda folder: small_bundle(folder, "ngrams"),
    "pipeline": lambda folder: small_bundle(folder, "pipeline"),
    "prior": lambda folder: small_bundle(folder, "prior"),
    "static": static_bundle,
    "finetuned": finetuned_bundle,
    "full": lambda folder: model_bundle(folder, "full"),
    "adapter": lambda folder: model_bundle(folder, "adapter"),
}
# Cases by default: as many as a second or so allows.
N_CASES = {"ngrams": 150, "pipeline": 40, "prior": 40, "static": 40, "finetuned": 24, "full": 24, "adapter": 24}


def ask(command: str, bundle: Path, rows: Path) -> list[str]:
    return {
        "check": ["check", str(bundle), "--dtype", "float32"],
        "predict": ["predict", str(bundle), "the pool is green", "--json", "--dtype", "float32"],
        "evaluate": ["evaluate", str(bundle), "--input", str(rows), "--json", "--dtype", "float32"],
    }[command]


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_bundle_is_refused_in_one_line_or_answers_as_before(kind, tmp_path, capsys, in_time):
    bundle = MAKE[kind](tmp_path)
    engine = open_engine(bundle.weights, EngineSettings(device="cpu", dtype="float32"))
    save(bundle, tmp_path / "good", engine=engine, golden=DEV)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": row.text, "label": row.label}) + "\n" for row in ROWS[:6]))
    commands = ["check", "predict", "evaluate"]
    expected = {}
    for command in commands:
        assert main(ask(command, tmp_path / "good", rows)) == 0
        expected[command] = capsys.readouterr().out
    n_refused = 0
    for seed in range(max(N_MORE, N_CASES[kind])):
        done = damage.damage(tmp_path / "good", tmp_path / "b", seed)
        command = commands[seed % 3]
        signal.alarm(SECONDS)
        status = main(ask(command, tmp_path / "b", rows))
        signal.alarm(0)
        said = capsys.readouterr()
        if status == 0:
            # What a stranger wrote whole, hashes and all, may answer otherwise; what was damaged may not.
            assert "hashes made to fit" in done or said.out == expected[command], done
        else:
            n_refused += 1
            assert len(said.err.splitlines()) == 1, f"{done}: {said.err}"
            assert said.err.startswith("labelwright: "), done
    assert n_refused > 0.6 * N_CASES[kind]


# ------------------------------------------------------------------------------------------------------- golden rows


def golden(folder: Path) -> Path:
    save(toy_bundle(), folder / "b", engine=FakeEngine(), golden=toy_examples(3))
    return folder / "b"


class NoNumbers(FakeEngine):
    """Answers with what is no number."""

    def score(self, prompts, options):
        return np.full((len(prompts), len(options)), np.nan)


def test_answers_that_are_no_numbers_are_not_as_recorded(tmp_path):
    result = verify(golden(tmp_path), NoNumbers())
    assert len(result.problems) == len(toy_examples(3))
    assert not result.ok


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [row | {"probabilities": [float("nan")] * 3} for row in rows], "NaN is no number"),
        (lambda rows: [row | {"probabilities": row["probabilities"][:2]} for row in rows], "not as it was exported"),
        (lambda rows: [row | {"probabilities": [0.9, 0.9, 0.9]} for row in rows], "not as it was exported"),
        (lambda rows: [row | {"label": "other"} for row in rows], "not as it was exported"),
        (lambda rows: [{"text": "x"} for _ in rows], "not as it was exported"),
        (lambda rows: [[row] for row in rows], "not as it was exported"),
        (lambda rows: rows[:-1], "were exported"),
        (lambda rows: [], "were exported"),
        (lambda rows: rows + rows, "were exported"),
    ],
)
def test_golden_rows_that_are_not_those_exported(tmp_path, capsys, change, message):
    folder = golden(tmp_path)
    rows = [json.loads(line) for line in (folder / "golden.jsonl").read_text().splitlines()]
    (folder / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in change(rows)))
    damage.rehash(folder)
    try:
        found = verify(folder, FakeEngine()).problems
    except BundleError as error:
        found = (str(error),)
    assert len(found) == 1
    assert message in found[0]


def test_bundles_that_do_not_say_how_many_golden_rows_they_have_still_open(tmp_path):
    folder = golden(tmp_path)
    content = json.loads((folder / "bundle.json").read_text())
    assert content.pop("n_golden") == len(toy_examples(3))
    (folder / "bundle.json").write_text(json.dumps(content))
    damage.rehash(folder)
    assert verify(folder, FakeEngine()).ok


# -------------------------------------------------------------------------------------------- what may be in a folder


@pytest.mark.parametrize("name", ["adapter/x.py", "x.py", "notes/a.json", "model/config.json", "predictor/x.skops"])
def test_files_that_are_listed_but_not_a_bundles_are_refused(tmp_path, name):
    save(toy_bundle(), tmp_path / "b")
    (tmp_path / "b" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "b" / name).write_text("{}")
    damage.rehash(tmp_path / "b")
    with pytest.raises(BundleError, match=rf"{name} is not part of a bundle"):
        load(tmp_path / "b")


def test_all_that_is_wrong_is_said_at_once_in_one_line(tmp_path, capsys):
    folder = golden(tmp_path)
    (folder / "README.md").unlink()
    (folder / "golden.jsonl").rename(folder / "silver.jsonl")
    os.mkfifo(folder / "pipe")
    for command in (["check", str(folder)], ["predict", str(folder), "x"]):
        assert main(command) in (1, 2)
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        for part in ("README.md: missing", "golden.jsonl: missing", "silver.jsonl: extra", "pipe: extra"):
            assert part in said


def test_a_flipped_weight_is_noticed_before_anything_is_answered(tmp_path, capsys):
    bundle = MAKE["ngrams"](tmp_path)
    save(bundle, tmp_path / "b")
    path = tmp_path / "b" / "predictor" / "ngrams.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 64
    path.write_bytes(data)
    assert main(["predict", str(tmp_path / "b"), "the pool is green"]) == 2
    assert "ngrams.safetensors: altered" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), PermissionError(13, "Permission denied")])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_disk_that_refuses_is_one_line_and_the_older_bundle_stays(tmp_path, monkeypatch, error, call):
    save(toy_bundle(), tmp_path / "b")
    calls = iter(range(1, 100))
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if next(calls) == call:
            raise error
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BundleError, match=rf"b: cannot be written \({error.strerror}\)"):
        save(replace(toy_bundle(), report={"n": 2}), tmp_path / "b")
    monkeypatch.undo()
    assert load(tmp_path / "b") == toy_bundle()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_rename_that_fails_puts_the_older_bundle_back(tmp_path, monkeypatch):
    save(toy_bundle(), tmp_path / "b")
    rename = os.rename

    def once(source: Path, target: Path) -> None:
        if Path(source).name.endswith(".saving"):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", once)
    with pytest.raises(BundleError, match="cannot be written"):
        save(replace(toy_bundle(), report={"n": 2}), tmp_path / "b")
    monkeypatch.undo()
    assert load(tmp_path / "b") == toy_bundle()
    shutil.rmtree(tmp_path / "b")
