"""Ollama's folder: a Modelfile that no text can break, and a grammar under which llama.cpp answers as the bundle."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import toy_splits, toy_task
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_model_folder

from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.conversion import converting, folder
from labelwright.conversion.rows import golden_rows
from labelwright.data.task import Label
from labelwright.decide import probabilities
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import BundleError
from labelwright.models.weights import Full
from labelwright.prompt import Prompt, Template
from labelwright.statistics.calibration import Calibration

pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
import xllamacpp

from labelwright.conversion.runtimes import ollama

DEV = toy_splits().dev
PIECES = st.sampled_from(
    ['"""', '"', "\\", "{{", "}}", "\n", "\nSYSTEM x", "\r", "\nPARAMETER stop a", "é", "水", "😀"]
)
TEXTS = st.lists(PIECES | st.characters(exclude_categories=("Cs",)), max_size=8).map("".join)


def commands(modelfile: str) -> list[tuple[str, str]]:
    """Commands and their values, by the rules of Ollama's parser.

    A value ends with its line, unless it begins with a quote, or three, that no line has ended with yet; there are no
    escapes, and what cannot be printed is dropped (parser/parser.go).
    """
    found, lines = [], modelfile.split("\n")
    while lines:
        line = lines.pop(0)
        if not line.strip():
            continue
        name, _, value = line.partition(" ")
        for quote in ('"""', '"'):
            if value.startswith(quote):
                while not (len(value) >= 2 * len(quote) and value.endswith(quote)):
                    value += "\n" + lines.pop(0)
                value = value[len(quote) : -len(quote)]
                break
        found.append((name, "".join(c for c in value if c.isprintable() or c == "\n")))
    return found


def filled_in(template: str, text: str) -> str:
    """A Go template of string literals and ``.Prompt`` alone; anything else in it is a fault."""
    parts = re.findall(r'\{\{ (?:"([^"]*)"|(\.Prompt)) \}\}|(.+?)', template, re.DOTALL)
    assert not any(other for _, _, other in parts)
    unescape = re.compile(r"\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")
    return "".join(
        text if prompt else unescape.sub(lambda found: chr(int(found[1] or found[2], 16)), literal)
        for literal, prompt, _ in parts
    )


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS, TEXTS, st.sampled_from(["name", "letter"]))
def test_no_text_breaks_out_of_the_modelfile(instructions, description, end, style):
    labels = (Label('po"""ol', description), Label("b"))
    prompt = Prompt(instructions, labels, ((description, "b"),), style, Template("<s>", "<u>", end + "<a>", end))
    read = commands(ollama.modelfile(prompt))
    assert [name for name, _ in read][:5] == ["FROM", "TEMPLATE", *["PARAMETER"] * 3]
    assert [value for name, value in read if name == "PARAMETER"][3:] in ([], [f'stop "{end}"'])
    assert filled_in(dict(read)["TEMPLATE"], "a row") == prompt.render("a row").text


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("bundle")
    weights = Full("tiny", tiny_model_folder(place / "model", seed=4))
    engine = open_engine(weights, EngineSettings(device="cpu", dtype="float32"))
    prompt = Prompt.for_task(toy_task(), engine.template, "letter")
    save(Bundle(toy_task(), prompt, weights, Calibration()), place / "b", engine=engine, golden=DEV)
    return place / "b"


def test_a_server_under_the_grammar_answers_as_the_bundle(source):
    """One written folder: its GGUF file is loaded, its grammar accepted, and its request answered with the letter."""
    out = source.with_name("ollama")
    made = converting.convert(source, "ollama", out, lambda one: golden_rows(source, one.task.names), quantise="f32")
    assert made is None, "only a server opens it"
    assert "None yet" in (out / "README.md").read_text(encoding="utf-8")
    bundle = load(source)
    engine = open_engine(bundle.weights, EngineSettings(device="cpu", dtype="float32"))
    texts = [row.text for row in DEV[:6]]
    likeliest = probabilities(bundle, engine, texts).argmax(axis=1)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(out / "model.gguf")
    parameters.n_ctx = 1024
    parameters.warmup = False
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)
    request = json.loads((out / "completion.json").read_text(encoding="utf-8"))
    assert request["grammar"] == (out / "labels.gbnf").read_text(encoding="utf-8") == 'root ::= "A" | "B" | "C"\n'
    answers = [
        server.handle_completions({**request, "prompt": request["prompt"].replace("your text", text)}) for text in texts
    ]
    said = ["ABC".index(answer["choices"][0]["text"]) for answer in answers]
    assert said == likeliest.tolist()
    assert len(np.unique(said)) > 1, "an answer that is always the same could not tell prompts apart"
    with pytest.raises(BundleError, match="only Ollama opens"):
        ollama.open_converted(folder.read(out))


def test_the_card_says_what_an_answer_stands_for(source, tmp_path):
    bundle = load(source)
    letters = ollama.convert(bundle, tmp_path, "f32").use
    assert "The answer stands for a label: A pool, B fence, C hvac." in letters
    assert "ollama create toy -f Modelfile" in letters
    named = replace(bundle, prompt=replace(bundle.prompt, style="name"))
    assert "The answer is a label's name." in ollama.convert(named, tmp_path, "f32").use
