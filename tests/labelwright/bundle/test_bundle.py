"""Bundles on disk: exact round trips, nothing half-written, nothing altered unnoticed, nothing that could run."""

from __future__ import annotations

import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from labelwright.bundle import files as bundle_files
from labelwright.bundle.store import GOLDEN_TOLERANCE, load, save, verify
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Label, Task
from labelwright.engines.opening import open_engine
from labelwright.errors import BundleError
from labelwright.models.weights import Adapter, Base, Full, Predictor
from labelwright.prompt import STYLES, Prompt, Template
from labelwright.statistics.calibration import Calibration
from labelwright.statistics.intervals import Interval


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def weights_folder(folder: Path, *, config: str = "adapter_config.json", **more: bytes) -> Path:
    """A folder as PEFT or transformers writes it: a config, safetensors, a README."""
    folder.mkdir(parents=True)
    (folder / config).write_text(json.dumps({"r": 16, "base_model_name_or_path": "/home/someone/models/x"}))
    save_file({"a": np.arange(4, dtype=np.float32)}, folder / "adapter_model.safetensors")
    (folder / "README.md").write_text("written by a library")
    for name, data in more.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def edit(folder: Path, change) -> None:
    """Change bundle.json as a hand would, and its hash with it."""
    content = json.loads((folder / "bundle.json").read_text())
    change(content)
    (folder / "bundle.json").write_text(json.dumps(content))
    bundle_files.write_hashes(folder)


# ------------------------------------------------------------------------------------------------------- round trips

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
names = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=8).filter(str.strip)
numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def bundles(draw) -> Bundle:
    labels = tuple(Label(name, draw(texts)) for name in draw(st.lists(names, min_size=2, max_size=5, unique=True)))
    task = Task(draw(texts), draw(names), labels)
    rewritten = tuple(Label(label.name, draw(texts)) for label in labels)
    demos = draw(st.lists(st.tuples(texts, st.sampled_from([label.name for label in labels])), max_size=2))
    style = draw(st.sampled_from(STYLES))
    template = Template(*(draw(texts) for _ in range(4)))
    prompt = Prompt(draw(texts), rewritten, tuple(demos), style, template, draw(texts))
    bias = draw(st.just(()) | st.tuples(*[numbers] * len(labels)))
    calibration = Calibration(draw(st.floats(0.01, 100)), bias)
    report = draw(st.dictionaries(texts, plain, max_size=2))
    history = tuple(draw(st.lists(st.dictionaries(texts, plain, max_size=2), max_size=2)))
    mass = draw(st.sampled_from([0.0, 1e-4, 0.3]))
    return Bundle(task, prompt, Base(draw(names)), calibration, report, history, mass)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bundle=bundles())
def test_save_and_load_are_exact_inverses(tmp_path, bundle):
    saved = save(bundle, tmp_path / "bundle")
    assert saved == load(tmp_path / "bundle") == bundle
    assert verify(tmp_path / "bundle").ok


def test_an_adapter_is_copied_and_found_in_the_bundle(tmp_path):
    source = weights_folder(tmp_path / "elsewhere" / "step-3")
    loaded = save(replace(toy_bundle(), weights=Adapter("smollm2", source)), tmp_path / "b")
    assert loaded.weights == Adapter("smollm2", tmp_path / "b" / "adapter")
    shutil.rmtree(source)
    copied = files(tmp_path / "b" / "adapter")
    assert sorted(copied) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads(copied["adapter_config.json"])
    assert config == {"r": 16, "base_model_name_or_path": "smollm2"}, "no path of the machine that trained"
    assert verify(tmp_path / "b").ok


def test_a_full_model_is_copied_with_its_tokenizer(tmp_path):
    more = {"tokenizer__json": b"{}", "merges__txt": b"", "chat_template__jinja": b"x"}
    source = weights_folder(tmp_path / "model", config="config.json", **more)
    loaded = save(replace(toy_bundle(), weights=Full("smollm2", source)), tmp_path / "b")
    assert loaded.weights == Full("smollm2", tmp_path / "b" / "model")
    expected = ["adapter_model.safetensors", "chat_template.jinja", "config.json", "merges.txt", "tokenizer.json"]
    assert sorted(files(tmp_path / "b" / "model")) == expected


def test_a_loaded_bundle_can_be_saved_over_itself_and_elsewhere(tmp_path):
    source = weights_folder(tmp_path / "adapter")
    first = save(replace(toy_bundle(), weights=Adapter("smollm2", source)), tmp_path / "b")
    before = files(tmp_path / "b")
    again = save(first, tmp_path / "b")
    assert (again, files(tmp_path / "b")) == (first, before)
    save(first, tmp_path / "c")
    assert files(tmp_path / "c") == before, "equal bundles are equal bytes, wherever they lie"


def test_what_could_not_be_read_again_replaces_nothing(tmp_path):
    good = save(toy_bundle(), tmp_path / "b")
    full = tmp_path / "full"
    full.mkdir()
    save_file({"w": np.zeros(2, dtype=np.float32)}, full / "model.safetensors")
    (full / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (full / "generation_config.json").write_text(json.dumps({"custom_generate": "somebody/code"}))
    with pytest.raises(BundleError, match="custom_generate"):
        save(replace(toy_bundle(), weights=Full("smollm2", full)), tmp_path / "b")
    assert load(tmp_path / "b") == good
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_a_bundle_passes_on_is_kept_told_and_read_as_a_probability(tmp_path):
    saved = save(replace(toy_bundle(), pass_on=0.707), tmp_path / "b")
    assert saved.pass_on == load(tmp_path / "b").pass_on == saved.decision.pass_on == 0.707
    assert "less sure than 70.7% gets none (`passed on`)" in (tmp_path / "b" / "README.md").read_text()
    assert saved.with_stage({"stage": "sft"}).pass_on == 0, "another classifier is sure of other rows"
    edit(tmp_path / "b", lambda content: content.update(pass_on=True))
    with pytest.raises(BundleError, match="pass_on is True, expected a probability"):
        load(tmp_path / "b")
    edit(tmp_path / "b", lambda content: content.update(pass_on=1.5))
    with pytest.raises(BundleError, match=r"pass_on is 1.5, expected a probability"):
        load(tmp_path / "b")
    edit(tmp_path / "b", lambda content: content.pop("pass_on"))
    assert load(tmp_path / "b").pass_on == 0, "older bundles answer every row"


def test_what_long_rows_are_is_the_bundles_and_older_ones_refuse_them(tmp_path):
    save(replace(toy_bundle(), long_rows="head"), tmp_path / "b")
    assert load(tmp_path / "b").long_rows == "head"
    edit(tmp_path / "b", lambda content: content.pop("long_rows"))
    assert load(tmp_path / "b").long_rows == "refuse"
    edit(tmp_path / "b", lambda content: content.update(long_rows="tail"))
    with pytest.raises(BundleError, match="long_rows is 'tail', expected one of"):
        load(tmp_path / "b")


def test_the_columns_of_the_text_are_the_bundles_and_older_ones_have_text_alone(tmp_path):
    bundle = replace(toy_bundle(), task=replace(toy_bundle().task, text_columns=("title", "body")))
    save(bundle, tmp_path / "b")
    assert "has its text in title and body, one below the other; or whole" in (tmp_path / "b" / "README.md").read_text()
    assert load(tmp_path / "b").task.text.read({"body": "b", "title": "a"}) == "a\nb"
    edit(tmp_path / "b", lambda content: content["task"].pop("text_columns"))
    assert load(tmp_path / "b").task.text.names == ("text",)
    for wrong in ("title", [1], ["a", "a"], [""]):
        edit(tmp_path / "b", lambda content, wrong=wrong: content["task"].update(text_columns=wrong))
        with pytest.raises(BundleError, match=r"text columns|a list|text belongs"):
            load(tmp_path / "b")


def test_what_may_stay_unexpanded_is_the_bundles_and_older_ones_have_the_default(tmp_path):
    save(replace(toy_bundle(), unexpanded_mass=0.02), tmp_path / "b")
    assert load(tmp_path / "b").unexpanded_mass == 0.02
    edit(tmp_path / "b", lambda content: content.pop("unexpanded_mass"))
    assert load(tmp_path / "b").unexpanded_mass == 1e-4
    for wrong in (1, -0.1, "0.1", True, None):
        edit(tmp_path / "b", lambda content, wrong=wrong: content.update(unexpanded_mass=wrong))
        with pytest.raises(BundleError, match=r"unexpanded_mass is .* expected a share in \[0, 1\)"):
            load(tmp_path / "b")


def test_reports_become_plain_numbers(tmp_path):
    report = {"accuracy": Interval(0.5, 0.4, 0.6), "n": np.int64(3), "x": np.float32(0.5), "bad": float("nan")}
    loaded = save(replace(toy_bundle(), report=report, history=({"counts": (1, 2)},)), tmp_path / "b")
    assert loaded.report == {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}, "n": 3, "x": 0.5, "bad": None}
    assert loaded.history == ({"counts": [1, 2]},)
    with pytest.raises(BundleError, match=r"report.a\[1\] is a object, which a bundle cannot hold"):
        save(replace(toy_bundle(), report={"a": [1, object()]}), tmp_path / "c")


def test_the_prompt_is_written_out_with_a_place_for_the_text(tmp_path):
    bundle = save(toy_bundle(), tmp_path / "b")
    content = json.loads((tmp_path / "b" / "bundle.json").read_text())
    whole = "".join(content["rendered"].values())
    assert whole.count("{text}") == 1
    assert whole.replace("{text}", "a row") == bundle.prompt.render("a row").text
    assert tuple(content["options"]) == bundle.prompt.options


def test_other_peoples_words_make_no_markup_in_the_card(tmp_path):
    labels = (Label("<b>pool</b>", "a\n# heading | `x`"), Label("[x](http://y)"), Label("- dash"))
    task = Task("name <script>", "Say which.", labels)
    bundle = replace(toy_bundle(), task=task, prompt=Prompt.for_task(task, toy_bundle().prompt.template))
    save(bundle, tmp_path / "b")
    card = (tmp_path / "b" / "README.md").read_text()
    assert "# name \\<script\\>" in card
    assert "1. \\<b\\>pool\\</b\\>: a # heading \\| \\`x\\`" in card
    assert "2. \\[x\\](http://y)\n3. \\- dash" in card


def test_the_card_says_what_where_and_how_well(tmp_path):
    report = {"dev": {"accuracy": {"value": 0.81234, "low": 0.7, "high": 0.9}}, "n_rows": 30}
    bundle = replace(toy_bundle(), report=report, history=({"stage": "gepa"}, {"stage": "grpo"}))
    golden = toy_examples(1)
    save(bundle, tmp_path / "b", engine=FakeEngine(), golden=golden, test={"accuracy": Interval(0.79, 0.7, 0.88)})
    card = (tmp_path / "b" / "README.md").read_text()
    assert "| dev | dev.accuracy | 0.812 | 0.700 to 0.900 |" in card
    assert "| test | accuracy | 0.790 | 0.700 to 0.880 |" in card
    assert "1. pool\n2. fence\n3. hvac" in card
    assert "1. gepa\n2. grpo" in card
    assert f"the {len(golden)} golden rows" in card
    assert 'labelwright predict . "your text"' in card
    save(toy_bundle(), tmp_path / "c")
    assert "golden" not in (tmp_path / "c" / "README.md").read_text()
    assert "None recorded." in (tmp_path / "c" / "README.md").read_text()
    assert "## Money" not in (tmp_path / "c" / "README.md").read_text()


def test_the_card_says_what_answering_costs_as_far_as_it_is_known(tmp_path):
    money = {"rows": 1000.0, "answered": 0.000578}
    save(toy_bundle(), tmp_path / "b", money=money)
    card = (tmp_path / "b" / "README.md").read_text()
    assert "## Money\n\n1,000 texts cost 0.000578, as the recipe that made this has its prices. Where" in card
    assert load(tmp_path / "b") == toy_bundle(), "it is no part of what answers"
    save(toy_bundle(), tmp_path / "b", money=money | {"hosted": 12.5, "person": 300.0})
    card = (tmp_path / "b" / "README.md").read_text()
    assert "those that are passed on 12.5; a person's answers to all of them 300. Where" in card


def test_the_card_says_that_test_numbers_count_the_rows_that_are_passed_on(tmp_path):
    """A share of them beside an accuracy of all: who reads it knows how many texts get no label."""
    save(toy_bundle(), tmp_path / "b", test={"accuracy": 0.9, "passed_on": 0.234})
    card = (tmp_path / "b" / "README.md").read_text()
    assert "| test | passed_on | 0.234 |" in card
    assert (
        "Test numbers count what it would have said of every row; what it passes on, a share of `passed_on`, gets"
        in card
    )
    save(toy_bundle(), tmp_path / "c", test={"accuracy": 0.9})
    assert "of every row" not in (tmp_path / "c" / "README.md").read_text()


# ------------------------------------------------------------------------------------------------------- golden rows


@pytest.fixture
def golden_bundle(tmp_path) -> Path:
    save(toy_bundle(), tmp_path / "b", engine=FakeEngine(), golden=toy_examples(3))
    return tmp_path / "b"


def test_golden_rows_are_recorded_and_verified(golden_bundle):
    rows = [json.loads(line) for line in (golden_bundle / "golden.jsonl").read_text().splitlines()]
    assert [(row["text"], row["gold"]) for row in rows] == [(e.text, e.label) for e in toy_examples(3)]
    assert all(sum(row["probabilities"]) == pytest.approx(1) for row in rows)
    names = toy_bundle().task.names
    assert all(row["label"] == names[int(np.argmax(row["probabilities"]))] for row in rows)
    result = verify(golden_bundle, FakeEngine())
    assert (result.ok, result.n_files, result.n_golden, result.max_difference) == (True, 3, len(rows), 0.0)


class NudgedEngine(FakeEngine):
    """As other kernels would: every score a little off."""

    def __init__(self, nudge: float) -> None:
        super().__init__()
        self.nudge = nudge

    def score(self, prompts, options):
        return super().score(prompts, options) + self.nudge * np.arange(len(options))


def test_rounding_of_another_machine_is_allowed_and_measured(golden_bundle):
    result = verify(golden_bundle, NudgedEngine(0.02))
    assert result.ok
    assert 0 < result.max_difference < GOLDEN_TOLERANCE
    assert not verify(golden_bundle, NudgedEngine(0.02), tolerance=1e-4).ok


def test_other_answers_are_not(golden_bundle):
    result = verify(golden_bundle, NudgedEngine(3.0))
    assert "golden.jsonl, row 1 (" in result.problems[0]
    assert any("label 'hvac', recorded 'pool'" in problem for problem in result.problems)
    slight = verify(golden_bundle, NudgedEngine(0.3))
    assert any("a probability differs by" in problem for problem in slight.problems)


def test_golden_rows_without_an_engine_are_our_own_bug(tmp_path):
    with pytest.raises(ValueError, match="need an engine"):
        save(toy_bundle(), tmp_path / "b", golden=toy_examples(1))


# ---------------------------------------------------------------------------------------------------------- tampering


@pytest.mark.parametrize("name", ["bundle.json", "README.md", "golden.jsonl", "adapter/adapter_model.safetensors"])
def test_every_altered_or_missing_file_is_named(tmp_path, name):
    weights = Adapter("smollm2", weights_folder(tmp_path / "adapter"))
    save(replace(toy_bundle(), weights=weights), tmp_path / "b", engine=FakeEngine(), golden=toy_examples(1))
    path = tmp_path / "b" / name
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    result = verify(tmp_path / "b", FakeEngine())
    assert result.problems == (f"{name}: altered, its sha256 is not the recorded one",)
    assert result.n_golden == 0, "an altered bundle is not scored"
    path.unlink()
    assert verify(tmp_path / "b").problems == (f"{name}: missing",)
    with pytest.raises(BundleError, match=rf"{path.name}"):
        load(tmp_path / "b")


def test_extra_files_are_named(golden_bundle):
    (golden_bundle / "adapter").mkdir()
    (golden_bundle / "adapter" / "model.py").write_text("print()")
    assert verify(golden_bundle).problems == ("adapter/model.py: extra, not part of the bundle",)


# ----------------------------------------------------------------------------------------------- what is not accepted


@pytest.mark.parametrize("name", ["adapter_model.bin", "optimizer.pt", "state.pkl", "modeling.py", "notes"])
def test_pickles_and_code_are_refused_when_saving_and_when_loading(tmp_path, name):
    source = weights_folder(tmp_path / "adapter")
    bundle = replace(toy_bundle(), weights=Adapter("smollm2", source))
    save(bundle, tmp_path / "b")
    (source / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=rf"{name}: not allowed in a bundle.*no pickle, no code"):
        save(bundle, tmp_path / "c")
    assert not (tmp_path / "c").exists()
    (tmp_path / "b" / "adapter" / name).write_bytes(b"x")
    bundle_files.write_hashes(tmp_path / "b")
    with pytest.raises(BundleError, match=rf"{name}: not allowed"):
        load(tmp_path / "b")


def test_weights_that_are_incomplete_or_double_are_refused(tmp_path):
    with pytest.raises(BundleError, match="no such folder of weights"):
        save(replace(toy_bundle(), weights=Adapter("x", tmp_path / "absent")), tmp_path / "b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match=r"expected adapter_config\.json and \.safetensors files"):
        save(replace(toy_bundle(), weights=Adapter("x", tmp_path / "empty")), tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"], "a refused save leaves nothing behind"


@pytest.mark.parametrize("escape", ["../adapter", "/etc", "adapter/../../x", "..\\x", "", 3])
def test_paths_cannot_leave_the_bundle(tmp_path, escape):
    save(replace(toy_bundle(), weights=Adapter("x", weights_folder(tmp_path / "adapter"))), tmp_path / "b")
    edit(tmp_path / "b", lambda content: content["weights"].update(folder=escape))
    with pytest.raises(BundleError, match="leads out of the bundle"):
        load(tmp_path / "b")
    table = {"algorithm": "sha256", "files": {str(escape): "0" * 64}}
    (tmp_path / "b" / "hashes.json").write_text(json.dumps(table))
    if isinstance(escape, str):
        with pytest.raises(BundleError, match="leads out of the bundle"):
            verify(tmp_path / "b")


def test_linked_weights_are_refused(tmp_path):
    source = weights_folder(tmp_path / "adapter")
    save(replace(toy_bundle(), weights=Adapter("x", source)), tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "adapter")
    (source / "README.md").unlink()
    (tmp_path / "b" / "adapter").symlink_to(source)
    with pytest.raises(BundleError, match="no folder 'adapter' with the weights"):
        load(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version=2), "version 2; this labelwright reads"),
        (lambda c: c.update(format="other"), "format 'other'"),
        (lambda c: c.pop("calibration"), "'calibration' is missing"),
        (lambda c: c["task"].pop("labels"), "'labels' is missing"),
        (lambda c: c["task"].update(labels=c["task"]["labels"][:1]), "needs at least two"),
        (lambda c: c["task"]["labels"].reverse(), "do not fit the task's 3 labels"),
        (lambda c: c["calibration"].update(bias=[0.0]), "do not fit the task's 3 labels"),
        (lambda c: c["calibration"].update(temperature=0), "temperature is 0"),
        (lambda c: c["prompt"].update(style="letters"), "prompt style 'letters'"),
        (lambda c: c["prompt"].update(instructions="Other."), "writes the prompt otherwise"),
        (lambda c: c["rendered"].update(system="Other."), "writes the prompt otherwise"),
        (lambda c: c["prompt"]["template"].update(more="x"), "unexpected keyword argument 'more'"),
        (lambda c: c["weights"].update(kind="pickle"), "weights of kind 'pickle'"),
        (lambda c: c["weights"].update(kind="full", folder="model"), "no folder 'model' with the weights"),
        (lambda c: c.update(prompt=None), "export the bundle again"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(tmp_path, change, message):
    save(toy_bundle(), tmp_path / "b")
    edit(tmp_path / "b", change)
    with pytest.raises(BundleError) as caught:
        load(tmp_path / "b")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_that_are_no_bundles(tmp_path):
    with pytest.raises(BundleError, match="no such folder"):
        load(tmp_path / "absent")
    (tmp_path / "mine").mkdir()
    with pytest.raises(BundleError, match=r"no bundle.json; expected a folder written by"):
        load(tmp_path / "mine")
    save(toy_bundle(), tmp_path / "mine")
    (tmp_path / "mine" / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="not UTF-8 JSON"):
        load(tmp_path / "mine")
    (tmp_path / "mine" / "hashes.json").unlink()
    with pytest.raises(BundleError, match=r"no hashes.json"):
        verify(tmp_path / "mine")


def test_a_folder_that_is_no_bundle_is_not_overwritten(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        save(toy_bundle(), tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_labels_of_prompt_and_task_must_agree(tmp_path):
    bundle = toy_bundle()
    turned = replace(bundle, prompt=replace(bundle.prompt, labels=bundle.prompt.labels[::-1]))
    with pytest.raises(BundleError, match="not those of task 'toy' in the same order"):
        save(turned, tmp_path / "b")


# ------------------------------------------------------------------------------------------------------------- killing


def killed_at(step: int, bundle: Bundle, folder: Path) -> bool:
    """Save in a child process that dies, as by ``kill -9``, at its n-th call that changes the disk."""
    child = os.fork()
    if child == 0:
        left = step

        def dying(function):
            def call(*args, **named):
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(9)
                return function(*args, **named)

            return call

        os.rename = dying(os.rename)
        shutil.rmtree = dying(shutil.rmtree)
        shutil.copyfile = dying(shutil.copyfile)
        Path.write_bytes = dying(Path.write_bytes)
        Path.mkdir = dying(Path.mkdir)
        try:
            save(bundle, folder)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_save_killed_at_any_moment_leaves_a_whole_bundle(tmp_path):
    source = weights_folder(tmp_path / "adapter")
    older, newer = toy_bundle(), replace(toy_bundle(), weights=Adapter("new", source), report={"n": 2})
    folder = tmp_path / "b"
    seen = set()
    for step in range(50):
        save(older, folder)
        if not killed_at(step, newer, folder):
            break
        survivor = load(folder)
        assert verify(folder).ok
        seen.add(survivor.weights.base)
        assert survivor.weights.base in ("fake", "new")
    else:
        pytest.fail("the save never finished")
    assert step > 8, "the child should have been killed at every step of the save"
    assert seen == {"fake", "new"}
    assert load(folder).report == {"n": 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "b"], (
        "leftovers are cleared by the next save"
    )


def test_a_first_save_that_is_killed_leaves_nothing_under_the_name(tmp_path):
    for step in range(4):
        assert killed_at(step, toy_bundle(), tmp_path / "b")
        assert not (tmp_path / "b").exists()
    save(toy_bundle(), tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_loading_needs_no_write_access(tmp_path):
    save(toy_bundle(), tmp_path / "b")
    before = files(tmp_path / "b")
    for path in [*(tmp_path / "b").iterdir(), tmp_path / "b", tmp_path]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    try:
        assert load(tmp_path / "b") == toy_bundle()
        assert verify(tmp_path / "b").ok
        assert files(tmp_path / "b") == before
    finally:
        for path in [tmp_path, tmp_path / "b"]:
            path.chmod(0o755)


# ------------------------------------------------------------------------------------ bundles of before November 2026

OLDER = Path(__file__).parent / "older"


@pytest.mark.parametrize("name", ["ngrams", "adapter"])
def test_older_bundles_are_written_as_they_were(tmp_path, name):
    """Written when weights were one class with three optional folders; every byte but the golden rows is the same."""
    bundle = load(OLDER / name)
    test = json.loads((OLDER / name / "bundle.json").read_text()).get("test")
    engine, golden = None, []
    if name == "ngrams":
        engine = open_engine(bundle.weights)
        rows = [json.loads(line) for line in (OLDER / name / "golden.jsonl").read_text().splitlines()]
        golden = [Example(row["id"], row["text"], row["gold"]) for row in rows]
    again = save(bundle, tmp_path / "b", engine=engine, golden=golden, test=test)
    assert replace(again, weights=bundle.weights) == bundle
    for path in (path for path in (OLDER / name).rglob("*") if path.is_file()):
        if path.name not in ("golden.jsonl", "hashes.json"):
            assert (tmp_path / "b" / path.relative_to(OLDER / name)).read_bytes() == path.read_bytes(), path.name


def test_older_bundles_say_and_answer_what_they_did():
    small, adapter = load(OLDER / "ngrams"), load(OLDER / "adapter")
    found = verify(OLDER / "ngrams", open_engine(small.weights), tolerance=1e-9)
    assert (found.ok, found.n_golden) == (True, 3)
    assert small.weights == Predictor("sgd-ngrams", OLDER / "ngrams" / "predictor")
    assert small.calibration == Calibration(1.5, (0.1, 0.0, -0.1))
    assert adapter.weights == Adapter("smollm2", OLDER / "adapter" / "adapter")
    assert (adapter.unexpanded_mass, adapter.long_rows, len(adapter.history)) == (1e-3, "head", 2)
    assert adapter.prompt.neighbours is not None
    assert adapter.prompt.neighbours.groups == (0, 1, 1, 2, 2)
