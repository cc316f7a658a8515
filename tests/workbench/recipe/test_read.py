"""Bad recipes, made by the hundred from a good one: each is refused when it is read, in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from labelwright.errors import RecipeError
from workbench.cli import main
from workbench.recipe.read import read_recipe
from workbench.recipe.recipe import TABLES, own_candidates
from workbench.recipe.stages import STAGES, read_pipeline, stage_class

ROOT = Path(__file__).parents[3]
DATA = '[data]\npath = "rows.jsonl"\n'
TASK = '[task]\ninstructions = "Name the topic."\n'
LABELS = 'labels = ["pool", "hvac", "fence"]\n'
GOOD = DATA + TASK + LABELS
CHOICES = '[data]\npath = "rows.jsonl"\nchoices = "choices"\n' + TASK
COSTS = '[grpo]\nreward = "cost_matrix"\nreward_settings = {costs = '

# What is wrong for a key of each type, as TOML.
WRONG = {
    str: ["3", "true", "nan", "2026-11-25", "[1]", "{a = 1}", '"\\u0007"', '"\\u0000"', '"\\u001b[2J"'],
    int: ['"x"', "1.5", "true", "nan", "inf", "-1", "9" * 30, "2026-11-25", "[]", "{a = 1}"],
    float: ['"x"', "true", "nan", "inf", "-inf", "-1", "-0.5", "2026-11-25T00:00:00", "[]", "{a = 1}"],
    bool: ['"true"', "1", "nan", "[]"],
    tuple: ['"x"', "3", "[[]]", "[nan]", "[true]", "{a = 1}", "[2026-11-25]", "[-1]"],
    Mapping: ['"x"', "3", "[]", "true", "{a = {b = nan}}", "{a = {b = 2026-11-25}}"],
}  # fmt: skip

TABLE_KEYS = [(table, one.name) for table, cls in TABLES.items() for one in fields(cls)]
STAGE_KEYS = [(stage, one.name) for stage in STAGES for one in fields(stage_class(stage))]


def kind_of(table: str, key: str) -> Any:
    hint = get_type_hints(TABLES.get(table) or stage_class(table))[key]
    if get_origin(hint) in (Union, UnionType):  # what may be left out
        hint = next(one for one in get_args(hint) if one is not NoneType)
    return next(
        (kind for kind in (bool, int, float, str) if hint is kind), tuple if get_origin(hint) is tuple else None
    ) or (Mapping if "Mapping" in str(hint) else str)


def with_key(table: str, key: str, value: str) -> str:
    """A good recipe, but for one key."""
    text = {"data": DATA, "task": TASK}
    if (table, key) in (("data", "path"), ("task", "instructions")):
        text[table] = f"[{table}]\n"
    text[table] = text.get(table, f"[{table}]\n") + f"{key} = {value}\n"
    return "".join(text.values())


def mutations() -> Iterator[tuple[str, str]]:
    for table, key in [*TABLE_KEYS, *STAGE_KEYS]:
        for number, value in enumerate(WRONG[kind_of(table, key)]):
            yield f"{table}.{key} {number}", with_key(table, key, value)
        yield f"{table}.{key} misspelt", with_key(table, key[:-1] + "zz", '"x"')
    for table in (*TABLES, *STAGES):
        head = "" if table in ("data", "task") else GOOD
        for value in ("3", '"x"', "[]", "true", "2026-11-25"):
            yield f"{table} = {value}", f"{table} = {value}\n" + head
        yield f"{table} twice", GOOD + f"[{table}]\n[{table}]\n"
    for key, values in {
        "seed": [*WRONG[int], "4294967295"],
        "stages": ['"gepa"', '["magic"]', "[1]", '["GEPA"]', '["calibrate", ""]', '["gepa+grpo"]'],
        "name": [
            *WRONG[str], '"a/b"', '".."', '".hidden"', '"a b"', '"mlflow.db"', '"MLFLOW.DB"', '"mlartifacts"',
            '"homeowner.toml"', '"nul"', '"CON.x"', '"ends."', '"é"', f'"{"x" * 101}"', '"a\\nb"',
            '"mlflow.db-journal"',
        ],
    }.items():  # fmt: skip
        for value in values:
            yield f"{key} = {value[:20]}", f"{key} = {value}\n" + GOOD


BY_HAND = {
    "no column of the text": DATA + "text = []\n" + TASK,
    "a column of the text twice": DATA + 'text = ["a", "a"]\n' + TASK,
    "a column of the text without a name": DATA + 'text = ["a", " "]\n' + TASK,
    "a number for a column": DATA + 'text = ["a", 1]\n' + TASK,
    "the label within the text": DATA + 'text = ["a", "label"]\n' + TASK,
    "a misspelt reward": GOOD + '[grpo]\nreward = "label_mach"',
    "a misspelt reward of gepa": GOOD + '[gepa]\nreward = "label_mach"',
    "costs missing": GOOD + '[grpo]\nreward = "cost_matrix"',
    "costs of an unknown label": GOOD + COSTS + "{pol = {hvac = 1}}}",
    "a negative cost": GOOD + COSTS + "{pool = {hvac = -1}}}",
    "a cost that is no number": GOOD + COSTS + "{pool = {hvac = nan}}}",
    "a negative cost of the right answer": GOOD + COSTS + "{pool = {pool = -1}}}",
    "no mistake costs": GOOD + COSTS + "{}, other = 0}",
    "costs as a list": GOOD + COSTS + "[1]}",
    "costs where labels come from the data": DATA + TASK + COSTS + "{pool = {hvac = true}}}",
    "a setting of another reward": GOOD + "[grpo]\nreward_settings = {costs = {pool = {hvac = 1}}}",
    "a power out of range": GOOD + '[gepa]\nreward = "rare_class"\nreward_settings = {power = 2}',
    "an unknown mode": GOOD + '[grpo]\nmode = "exakt"',
    "an unknown loss": GOOD + '[grpo]\nloss_type = "dapoo"',
    "one rollout": GOOD + "[grpo]\nn_rollouts = 1",
    "rows that do not divide": GOOD + "[sft]\nrows_per_step = 16\nrows_per_forward = 5",
    "endings on rows with choices": CHOICES + "[sft]\nsteering_share = 0.2",
    "typos in rows with choices": CHOICES + "[sft]\naugment = 0.2",
    "copies and no rows": GOOD + "[grpo]\nsteering_share = 0.5\naugment = 0.5",
    "an unknown dtype": GOOD + '[model]\ndtype = "float64"',
    "a dtype of another backend": GOOD + '[model]\ndtype = "q8_0"',
    "an unknown device": GOOD + '[model]\ndevice = "gpu"',
    "a device with a sign": GOOD + '[model]\ndevice = "cuda:-1"',
    "an unknown backend": GOOD + '[model]\nbackend = "ollama"',
    "no url": "stages = []\n" + GOOD + '[model]\nbackend = "openai"',
    "a url that is none": "stages = []\n" + GOOD + '[model]\nbackend = "vllm"\nurl = "localhost:8000"',
    "a url with a password": "stages = []\n" + GOOD + '[model]\nbackend = "vllm"\nurl = "http://u:p@a/v1"',
    "a writer's url with a key": GOOD + '[synthetic]\nmodel = "m"\nurl = "http://a/v1?api_key=abc"',
    "a checker's url with a password": GOOD + '[synthetic]\ncheck_model = "m"\ncheck_url = "http://u:p@a/v1"',
    "a reflection url with a key": GOOD + '[gepa]\nreflection_url = "http://a/v1#abc"',
    "long rows that a server cannot cut": "stages = []\n"
    + GOOD
    + '[model]\nbackend = "openai"\nurl = "http://a/v1"\nlong_rows = "head"',
    "thoughts of a server": "stages = []\n"
    + GOOD
    + '[model]\nbackend = "openai"\nurl = "http://a/v1"\nthinking_tokens = 9',
    "training through a server": GOOD + '[model]\nbackend = "vllm"',
    "training in llama.cpp": GOOD + '[model]\nbackend = "llamacpp"',
    "training thoughts": GOOD + "[model]\nthinking_tokens = 64",
    "a candidate trained through a server": "stages = []\n"
    + GOOD
    + '[model]\nbackend = "vllm"\n[models]\ncandidates = ["sft"]',
    "an unknown baseline": GOOD + '[baselines]\nnames = ["sgd-ngram"]',
    "a baseline twice": GOOD + '[baselines]\nnames = ["majority", "majority"]',
    "a baseline of choices": GOOD + '[baselines]\nnames = ["chance"]',
    "a baseline without a description": GOOD + '[baselines]\nnames = ["minilm-nearest-description"]',
    "settings of one that is not listed": GOOD
    + '[baselines]\nnames = ["majority"]\n[baselines.settings.sgd-ngrams]\nalpha = 1',
    "a setting that there is not": GOOD + "[baselines.settings.sgd-ngrams]\nalfa = 1e-4",
    "a setting of majority": GOOD + "[baselines.settings.majority]\nalpha = 1e-4",
    "a setting of another type": GOOD + '[baselines.settings.sgd-ngrams]\nalpha = "small"',
    "a setting out of range": GOOD + "[baselines.settings.sgd-ngrams]\nalpha = 0",
    "a setting that is not finite": GOOD + "[baselines.settings.sgd-ngrams]\nalpha = inf",
    "a switch for a number": GOOD + "[baselines.settings.sgd-ngrams]\nmax_iter = true",
    "runs of words that end before they begin": GOOD + "[baselines.settings.sgd-ngrams]\nshortest = 3",
    "an unknown analyzer": GOOD + '[baselines.settings.sgd-ngrams]\nanalyzer = "words"',
    "no strengths": GOOD + "[baselines.settings.minilm-logreg]\nstrengths = []",
    "an unknown head": GOOD + '[baselines.settings.minilm-logreg]\nhead = "forest"',
    "half a neighbour": GOOD + '[baselines.settings.minilm-logreg]\nhead = "knn"\nstrengths = [0.5]',
    "the seed of a baseline": GOOD + "[baselines.settings.majority]\nrandom_state = 1",
    "pooling": GOOD + '[baselines]\nnames = ["encoder-ce"]\n[baselines.settings.encoder-ce]\npooling = "max"',
    "a dtype of a baseline": GOOD + '[baselines]\nnames = ["llm-head"]\n[baselines.settings.llm-head]\ndtype = "fp16"',
    "a device of a baseline": GOOD
    + '[baselines]\nnames = ["encoder-pairs"]\n[baselines.settings.encoder-pairs]\ndevice = "gpu0"',
    "no epochs below 0": GOOD + '[baselines]\nnames = ["encoder-ce"]\n[baselines.settings.encoder-ce]\nepochs = -1',
    "a template without its place": GOOD
    + '[baselines]\nnames = ["entailment"]\n[baselines.settings.entailment]\ntemplate = "about"',
    "settings that are no table": GOOD + "[baselines]\nsettings = {majority = 3}",
    "a candidate twice": GOOD + '[models]\ncandidates = ["sft", "sft"]',
    "a candidate twice by its style": GOOD + '[models]\ncandidates = ["sft", "sft@name"]',
    "a stage twice in a candidate": GOOD + '[models]\ncandidates = ["gepa+gepa"]',
    "free and more": GOOD + '[models]\ncandidates = ["free+sft"]',
    "an empty stage": GOOD + '[models]\ncandidates = ["sft+"]',
    "an empty candidate": GOOD + '[models]\ncandidates = [""]',
    "a calibrated candidate": GOOD + '[models]\ncandidates = ["sft+calibrate"]',
    "a style that there is not": GOOD + '[models]\ncandidates = ["sft@letters"]',
    "a candidate to export that there is not": GOOD + '[export]\ncandidate = "sgd-char"',
    "a candidate to export that writes freely": GOOD + '[models]\ncandidates = ["free"]\n[export]\ncandidate = "free"',
    "a curve of none": GOOD + '[compare]\ncurves = ["sgd"]',
    "noise of none": GOOD + '[baselines]\nnames = ["majority"]\n[compare]\nnoise = ["sgd-chars"]',
    "more resamples than memory": GOOD + "[compare]\nbootstrap = 1000000000",
    "no rows a label": GOOD + "[compare]\ncurve_rows = [0]",
    "shares without train": GOOD + "[splits]\ndev = 0.4\ncalib = 0.3\ntest = 0.3",
    "a share of 1": GOOD + "[splits]\ndev = 1",
    "one label": DATA + TASK + 'labels = ["pool"]',
    "a label twice": DATA + TASK + 'labels = ["pool", "hvac", "pool"]',
    "a label without a name": DATA + TASK + 'labels = ["pool", " "]',
    "a label on two lines": DATA + TASK + 'labels = ["pool", "hv\\nac"]',
    "a label of a thousand characters": DATA + TASK + f'labels = ["pool", "{"x" * 1000}"]',
    "a tree without a path": DATA + TASK + 'labels = ["pool", "hvac"]\ntree = " > "',
    "a label above another": DATA + TASK + 'labels = ["out", "out > pool"]\ntree = " > "',
    "a level skipped": DATA + TASK + 'labels = ["out >  > pool", "in > hvac"]\ntree = " > "',
    "a tree of levels": DATA + TASK + 'kind = "score"\nlabels = ["a > 1", "a > 2"]\ntree = " > "',
    "levels renamed": '[data]\npath = "a.csv"\nrename = {a = "b"}\n' + TASK + 'kind = "score"\nlabels = ["1", "2"]',
    "a local classifier of a list": GOOD + '[baselines]\nnames = ["local-ngrams"]',
    "boundaries of a list": GOOD + '[baselines]\nnames = ["minilm-ordinal"]',
    "distances of a list": GOOD + '[grpo]\nreward = "distance"',
    "paths of a list": GOOD + '[gepa]\nreward = "tree_path"',
    "prices of a level that there is not": DATA
    + TASK
    + 'kind = "score"\nlabels = ["1", "2"]\n[costs.matrix.3]\n1 = 2.0',
    "no labels at all": DATA + TASK + "labels = []",
    "a text of a hundred thousand characters": DATA + f'[task]\ninstructions = "{"x" * 100_001}"',
    "a path of a thousand characters": f'[data]\npath = "{"x" * 1001}"\n' + TASK,
    "no instructions": DATA + '[task]\ninstructions = "  "',
    "labels and choices": CHOICES + LABELS,
    "codes and choices": CHOICES + '[models]\ncandidates = ["untuned@code"]',
    "letters and choices": CHOICES + '[models]\ncandidates = ["untuned@letter"]',
    "neighbours of choices": "stages = ['neighbours']\n" + CHOICES,
    "a person's preferences among letters": "stages = ['dpo']\n" + CHOICES + '[dpo]\npreferences = "a.jsonl"',
    "preferences that are not there": "stages = ['dpo']\n" + GOOD + '[dpo]\npreferences = "nothing.jsonl"',
    "slips among letters": CHOICES + '[grpo]\nreward = "noisy_label"\nreward_settings = {share = 0.1}',
    "rotations without choices": GOOD + "[calibrate]\nrotations = true",
    "thresholds of one label a row": GOOD + '[calibrate]\nmaximise = "micro_f1"',
    "thresholds of yes or no alone": DATA + TASK + 'kind = "yes_no"\n[calibrate]\nmaximise = "micro_f1"',
    "thresholds for no metric": DATA + TASK + 'kind = "labels"\nlabels = ["a", "b"]\n[calibrate]\nmaximise = "f1"',
    "a text without choices": "stages = ['prior']\n" + CHOICES + '[prior]\nsource = "content_free"',
    "a linear model of choices": CHOICES + '[baselines]\nnames = ["sgd-ngrams"]',
    "out of scope and a label": '[data]\npath = "a.csv"\nout_of_scope = "pool"\n' + TASK + LABELS,
    "text and label in one column": '[data]\npath = "a.csv"\nlabel = "text"\n' + TASK,
    "a file and a dataset": '[data]\npath = "a.csv"\nhub = "b/c"\n' + TASK,
    "a test file of a dataset": '[data]\nhub = "b/c"\ntest_path = "a.csv"\n' + TASK,
    "a store of another kind": GOOD + '[tracking]\nuri = "redis://localhost"',
    "a password": GOOD + '[tracking]\nuri = "http://me:hunter2@host:5000"',
    "nothing to do": "stages = []\n" + GOOD + "[baselines]\nnames = []",
    "a folder": None,
    "not TOML": "[data\n",
    "a key twice": "seed = 1\nseed = 2\n" + GOOD,
    "brackets without end": "a = " + "[" * 5000,
    "a number of five thousand digits": f"seed = {'9' * 5000}\n" + GOOD,
    "a page of anything": "x" * 3_000_000,
    "nothing": "",
    "a byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "sixteen bits": GOOD.encode("utf-16"),
    "latin": b'name = "\xe9"',
    "a zero byte": b'name = "\x00"',
}


@pytest.fixture(autouse=True)
def nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe that is accepted ends with status 0."""
    monkeypatch.setattr("workbench.verbs.compare", lambda *arguments: None)


def refused(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is wrong with how a recipe is refused; empty where it is in one line with status 2."""
    try:
        status = main(["compare", str(path)])
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    said = capsys.readouterr().err
    lines = said.splitlines()
    if (
        status != 2
        or len(lines) != 1
        or len(said) > 6000
        or not said.startswith("labelwright: error: ")
        or not said[:-1].isprintable()
    ):
        return f"status {status}, {len(lines)} lines: {said[:120]!r}"
    return ""


def test_every_mutation_of_a_good_recipe_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_recipe(written(tmp_path, GOOD)).name == "mine"
    cases = list(mutations())
    assert len(cases) > 600
    wrong = [f"{name}: {found}" for name, text in cases if (found := refused(written(tmp_path, text), capsys))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", BY_HAND)
def test_a_recipe_that_a_stage_would_refuse_later_is_refused_when_read(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = BY_HAND[name]
    path = tmp_path / "mine.toml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refused(path, capsys) == ""


def test_what_is_no_file_is_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s"))
        names = ["pipe.toml", "loop.toml", "s", "none.toml", "x" * 300, "a\nb", "a\0b", "mine.toml/x"]
        written(tmp_path, GOOD)
        for path in [*(tmp_path / name for name in names), Path("/dev/zero")]:
            assert refused(path, capsys) == "", path


def test_a_recipe_that_is_not_there_is_said_to_be_so_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        read_recipe(tmp_path / "absent.toml")
    assert str(error.value).count("no such recipe") == 1
    assert "cannot be read" not in str(error.value)


def test_a_label_twice_is_one_fault_of_its_table(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        read_recipe(written(tmp_path, DATA + TASK + 'labels = ["pool", "hvac", "pool"]'))
    assert "[task]" in str(error.value)
    assert "faults" not in str(error.value)
    assert "[grpo]" not in str(error.value)


def test_a_run_may_go_through_a_stage_again_where_a_candidate_may_not(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, 'stages = ["sft", "grpo", "sft"]\n' + GOOD))
    for name in own_candidates(recipe):
        assert read_pipeline(name).name == name, "the comparison reads the pipeline of every step"
    with pytest.raises(RecipeError, match="stands in it twice"):
        read_recipe(written(tmp_path, GOOD + '[models]\ncandidates = ["sft+grpo+sft"]'))


def test_all_faults_are_told_in_one_line(tmp_path: Path) -> None:
    text = (
        "sed = 1\n" + DATA + TASK + '[splits]\ndev = nan\n[grpo]\nsteps = 1.5\nloss_type = "x"\n[tracking]\nurl = "x"\n'
    )
    with pytest.raises(RecipeError) as error:
        read_recipe(written(tmp_path, text))
    said = str(error.value)
    assert "5 faults" in said
    for part in (
        "'sed'",
        "[splits]: dev = nan",
        "[grpo]: steps = 1.5",
        "[grpo]: loss_type = 'x'",
        "[tracking]: unknown",
    ):
        assert part in said
    assert "\n" not in said


def test_a_file_name_that_cannot_name_a_recipe_needs_a_name(tmp_path: Path) -> None:
    (tmp_path / "my recipe.toml").write_text(GOOD)
    with pytest.raises(RecipeError, match="stands for the recipe's"):
        read_recipe(tmp_path / "my recipe.toml")
    (tmp_path / "my recipe.toml").write_text('name = "mine"\n' + GOOD)
    assert read_recipe(tmp_path / "my recipe.toml").name == "mine"


@pytest.mark.parametrize(
    "text",
    [
        GOOD + '[grpo]\nreward = "cost_matrix"\nreward_settings = {costs = {pool = {hvac = 3, fence = 0.5}}}',
        DATA + TASK + COSTS + "{pool = {hvac = 3}}}",
        "stages = ['gepa', 'calibrate']\n" + GOOD + '[model]\nbackend = "llamacpp"\ndtype = "q8_0"',
        "stages = ['gepa']\n" + GOOD + '[model]\nbackend = "openai"\nurl = "http://127.0.0.1:11434/v1"',
        GOOD + "[baselines.settings.sgd-ngrams]\nshortest = 2\nlongest = 3\nalpha = 1\n",
        GOOD + '[models]\ncandidates = ["untuned", "sft", "sft@code"]\n[export]\ncandidate = "sft@code"',
        GOOD + '[export]\ncandidate = "gepa+grpo"',
        GOOD + '[compare]\ncurves = ["untuned", "majority"]\nnoise = ["majority"]',
        CHOICES + '[baselines]\nnames = ["majority", "chance"]\n[calibrate]\nrotations = true',
        "stages = []\n" + DATA + TASK + 'kind = "labels"\nlabels = ["a", "b"]\n[calibrate]\nmaximise = "macro_f1"',
        CHOICES,
        DATA + '[task]\ninstructions = """Two\nlines."""\nlabels = [{name = "a", description = "b"}, "c"]\n'
        + '[baselines]\nnames = ["minilm-nearest-description"]',
        "stages = []\n" + GOOD,
        GOOD + '[tracking]\nuri = "postgresql+psycopg2://me@host/db"',
    ],
)  # fmt: skip
def test_good_recipes_stay_good(text: str, tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, text))
    assert own_candidates(recipe)[0] == "untuned"


def test_a_setting_without_a_default_is_asked_for(tmp_path: Path) -> None:
    needed = [one.name for one in fields(TABLES["task"]) if one.default is MISSING and one.default_factory is MISSING]
    assert needed == ["instructions"]


def test_a_bad_recipe_costs_no_second_of_imports(tmp_path: Path) -> None:
    """Also one that sets a baseline whose estimator needs torch."""
    text = GOOD + '[baselines]\nnames = ["encoder-ce"]\n[baselines.settings.encoder-ce]\nepochs = 1.5\n'
    code = (
        f"import sys; from workbench.cli import main; status = main(['demo', {str(written(tmp_path, text))!r}]);"
        "print(status, [name for name in ('torch', 'sklearn', 'dspy', 'mlflow') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "2 []"
    assert "epochs = 1.5: expected a whole number" in found.stderr


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path
