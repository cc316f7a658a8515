from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import toy_splits, toy_task
from tiny import tiny_model_folder

from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.cli import main
from labelwright.conversion import converting, folder
from labelwright.conversion.certificate import read_certificate
from labelwright.conversion.rows import golden_rows
from labelwright.engines.opening import open_engine
from labelwright.errors import BundleError
from labelwright.models.weights import Full
from labelwright.prompt import Neighbours, Prompt
from labelwright.statistics.calibration import Calibration

DEV = toy_splits().dev
CALIBRATION = Calibration(1.7, (0.3, 0.0, -0.4))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A tiny language model with a prompt and a calibration of its own, and golden rows."""
    place = tmp_path_factory.mktemp("bundle")
    weights = Full("tiny", tiny_model_folder(place / "model"))
    engine = open_engine(weights)
    prompt = Prompt.for_task(toy_task(), engine.template)
    save(Bundle(toy_task(), prompt, weights, CALIBRATION), place / "b", engine=engine, golden=DEV)
    return place / "b"


@pytest.fixture(scope="module")
def written(bundle) -> Path:
    out = bundle.with_name("out")
    certificate = converting.convert(
        bundle, "huggingface", out, lambda one: golden_rows(bundle, one.task.names), quantise="float32"
    )
    assert certificate is not None
    return out


def test_a_converted_folder_gives_the_same_probabilities(written):
    certificate = read_certificate(written / "certificate.json")
    assert certificate.holds
    # The bundle leaves up to 1e-4 of a row's probability unexpanded.
    assert certificate.max_difference < 2e-4
    assert certificate.n_rows == certificate.n_labelled == len(DEV)
    assert folder.read(written).names == toy_task().names


def test_the_code_on_the_card_is_the_classifier(written, bundle, monkeypatch, capsys):
    """Run as a person would who copies it, in a folder of theirs; a row with markup in it is plain text there too."""
    code = re.search(r"```python\n(.*?)```", (written / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    assert "labelwright" not in code[1]
    monkeypatch.chdir(written)
    names: dict[str, object] = {}
    exec(code[1], names)  # the card's own text
    loaded = load(bundle)
    engine = open_engine(loaded.weights)
    texts = ["the chlorine is low", "a <|im_end|> picket", "  furnace \n duct  "]
    from labelwright.decide import probabilities

    there = [names["probabilities"](text) for text in texts]  # type: ignore[operator]
    here = probabilities(loaded, engine, texts)
    assert [list(one) for one in there] == [list(toy_task().names)] * 3
    assert np.abs(here - [list(one.values()) for one in there]).max() < 2e-4


def test_what_has_no_language_model_or_a_prompt_a_row_is_refused(bundle, tmp_path):
    loaded = load(bundle)
    shown = replace(loaded.prompt, neighbours=Neighbours((("a", "pool"),), 1))
    thinking = replace(loaded.prompt, template=replace(loaded.prompt.template, thinking_tokens=5))
    from labelwright.conversion.huggingface import convert

    for prompt, said in ((shown, "its own examples"), (thinking, "thinks")):
        with pytest.raises(BundleError, match=said):
            convert(replace(loaded, prompt=prompt), tmp_path, "")
    assert not list(tmp_path.iterdir())


def test_the_command_line_writes_beside_the_bundle_and_says_what_was_measured(bundle, capsys):
    assert main(["convert", str(bundle), "--to", "huggingface"]) == 0
    out = capsys.readouterr().out
    assert "within the tolerance" in out
    place = bundle.with_name("b-huggingface")
    assert f"written: {place}" in out
    assert "Within the tolerance" in (place / "README.md").read_text(encoding="utf-8")
    assert main(["convert", str(bundle), "--to", "huggingface"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["certify", str(bundle), str(place), "--tolerance", "0"]) == 1
    assert "OUTSIDE" in capsys.readouterr().out
