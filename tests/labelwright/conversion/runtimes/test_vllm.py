from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import toy_splits, toy_task
from tiny import tiny_model_folder

from labelwright.bundle.store import save
from labelwright.bundle.types import Bundle
from labelwright.conversion import converting, folder
from labelwright.conversion.rows import golden_rows
from labelwright.conversion.runtimes import vllm
from labelwright.engines.opening import open_engine
from labelwright.errors import BundleError
from labelwright.models.weights import Full
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, Bundle]:
    place = tmp_path_factory.mktemp("bundle")
    weights = Full("tiny", tiny_model_folder(place / "model"))
    engine = open_engine(weights)
    bundle = Bundle(toy_task(), Prompt.for_task(toy_task(), engine.template), weights, Calibration(2.0))
    save(bundle, place / "b", engine=engine, golden=toy_splits().dev)
    made = converting.convert(place / "b", "vllm", place / "out", lambda one: golden_rows(place / "b", one.task.names))
    assert made is None, "only a server opens it"
    return place / "out", bundle


def test_the_request_is_the_bundles_prompt_and_allows_labels_only(written):
    out, bundle = written
    request = json.loads((out / "completion.json").read_text(encoding="utf-8"))
    assert request["prompt"] == bundle.prompt.render("your text").text
    assert request["structured_outputs"] == {"choice": [" pool", " fence", " hvac"]}
    assert request["model"] in (out / "README.md").read_text(encoding="utf-8")
    assert request["max_tokens"] > max(map(len, bundle.prompt.options))


def test_the_folder_is_a_model_that_transformers_reads(written):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out, _ = written
    assert AutoModelForCausalLM.from_pretrained(out, trust_remote_code=False).config.model_type == "llama"
    assert AutoTokenizer.from_pretrained(out, trust_remote_code=False).chat_template
    with pytest.raises(BundleError, match="only vLLM opens"):
        vllm.open_converted(folder.read(out))
