from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import workbench_fakes

from labelwright.data.costs import Costs
from labelwright.errors import RecipeError
from workbench.recipe.read import read_recipe
from workbench.recipe.recipe import FIXED_TABLES, TABLES
from workbench.recipe.rows import read_rows
from workbench.recipe.stages import DEFAULT_STAGES, stage_class
from workbench.recipe.tables.compare import CompareTable, MoneyTable

ROOT = Path(__file__).parents[3]
MINIMAL = '[data]\npath = "rows.jsonl"\n[task]\ninstructions = "Name the topic."\n'


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    workbench_fakes.install(monkeypatch.setattr)


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_more_labels_than_letters_are_refused_before_a_model_is_opened(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": f"l{i % 256}"} for i in range(512)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    candidates = '[models]\ncandidates = ["untuned@letter", "untuned"]\n'
    minimal = MINIMAL.replace("rows.jsonl", str(tmp_path / "rows.jsonl"))
    recipe = read_recipe(written(tmp_path, minimal + 'style = "letter"\n'))
    with pytest.raises(RecipeError, match=r"mine\.toml: \[task\]: 256 labels are more than the 255 letters: use style"):
        read_rows(recipe)
    recipe = read_recipe(written(tmp_path, minimal + candidates))
    with pytest.raises(RecipeError, match=r"mine\.toml: untuned@letter: 256 labels are more than"):
        read_rows(recipe)
    assert len(read_rows(read_recipe(written(tmp_path, minimal + 'style = "code"\n')))) == 512


def test_a_minimal_recipe_gets_the_defaults(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, MINIMAL))
    assert recipe.name == "mine"
    assert recipe.stages == ("gepa", "grpo", "calibrate")
    assert (recipe.splits.dev, recipe.splits.calib, recipe.splits.test) == (0.12, 0.12, 0.2)
    assert recipe.model.name == "smollm2"
    assert recipe.stage("gepa") == workbench_fakes.FakeGepa()


def test_labels_may_be_names_or_tables(tmp_path: Path) -> None:
    labels = 'labels = ["pool", {name = "hvac", description = "heating and cooling"}]\n'
    task = read_recipe(written(tmp_path, MINIMAL + labels)).task_for(("ignored",))
    assert task.names == ("pool", "hvac")
    assert task.labels[1].description == "heating and cooling"


def test_labels_come_from_the_data_where_none_are_named(tmp_path: Path) -> None:
    assert read_recipe(written(tmp_path, MINIMAL)).task_for(("b", "a")).names == ("a", "b")


def test_a_stage_table_becomes_the_stage(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, MINIMAL + "[gepa]\nn_words = 5\nbudget_share = 1\n"))
    assert recipe.stage("gepa") == workbench_fakes.FakeGepa(n_words=5, budget_share=1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sed = 1\n" + MINIMAL, "unknown key 'sed'; did you mean 'seed'?"),
        (MINIMAL + "[gpro]\nsteps = 1", "unknown key 'gpro'; did you mean 'grpo'?"),
        (MINIMAL + "[splits]\ndevv = 0.1", "[splits]: unknown key 'devv'; did you mean 'dev'?"),
        (MINIMAL + "[gepa]\nnwords = 5", "[gepa]: unknown key 'nwords'; did you mean 'n_words'?"),
        (MINIMAL + "[gepa]\nn_words = 0", "[gepa]: n_words = 0: expected 1 or more"),
        (MINIMAL + "[gepa]\nn_words = 1.5", "[gepa]: n_words = 1.5: expected a whole number, found a number"),
        (MINIMAL + "[gepa]\nn_words = true", "n_words = True: expected a whole number, found true or false"),
        (MINIMAL + "[gepa]\nbudget_share = 'a'", "budget_share = 'a': expected a number, found a text"),
        (MINIMAL + "[baselines]\nnames = 'sgd'", "[baselines]: names = 'sgd': expected a list, found a text"),
        (MINIMAL + "[baselines]\nnames = [1]", "names[0] = 1: expected a text, found a whole number"),
        (MINIMAL + "style = 'emoji'", "[task]: style = 'emoji': expected one of 'name', 'code'"),
        (MINIMAL + "labels = 'pool'", "labels must be a list of names"),
        (MINIMAL + "labels = [1, 2]", "label 1: expected a name or a table, found 1"),
        (MINIMAL + "labels = [{nam = 'a'}]", "label 1: unknown key 'nam'; did you mean 'name'?"),
        (MINIMAL + "[splits]\ntest = 0", "test = 0.0: expected a share between 0 and 1"),
        (MINIMAL + "[splits]\ntest = 0.7", "leave at least 0.1 of the rows for train"),
        (MINIMAL + "[compare]\nbootstrap = 5", "bootstrap = 5: expected 100 or more"),
        (MINIMAL + "[compare]\nmargin = 2", "margin = 2.0: expected a share of accuracy above 0 and below 0.5"),
        (MINIMAL + "[compare]\nmargin = 0", "margin = 0.0: expected a share"),
        (MINIMAL + "[compare]\nmargin = nan", "margin = nan: expected a finite number"),
        (MINIMAL + "[export]\ngolden_rows = 0", "golden_rows = 0: expected 1 or more"),
        ("name = 'a b'\n" + MINIMAL, "name = 'a b': it names a folder"),
        ("seed = -1\n" + MINIMAL, "seed = -1: expected 0 or more"),
        ("stages = ['gepa', 'magic']\n" + MINIMAL, "no stage 'magic'; known stages are gepa, grpo, calibrate"),
        ("model = 'smollm2'\n" + MINIMAL, "model must be a table: write [model]"),
        ('[data]\npath = "a"\n', "no [task] table"),
        ('[task]\ninstructions = "a"\n', "no [data] table"),
        ('[data]\n[task]\ninstructions = "a"\n', "expected path (a file) or hub (a dataset id), found neither"),
        ('[data]\npath="a"\nhub="b"\n[task]\ninstructions = "a"\n', "found both"),
        ('[data]\npath="a"\n[task]\n', "[task]: no 'instructions'"),
        ("[data\n", "not TOML"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        read_recipe(path)
    assert expected in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe"):
        read_recipe(tmp_path / "none.toml")


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(RecipeError, match="not UTF-8"):
        read_recipe(tmp_path / "latin.toml")


def test_the_environment_chooses_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe(written(tmp_path, MINIMAL + '[tracking]\nuri = "sqlite:///mine.db"\n'))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert recipe.tracking.resolved_uri() == "sqlite:///mine.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org:5000")
    assert recipe.tracking.resolved_uri() == "http://example.org:5000"


def test_a_stages_own_refusal_names_its_table_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    path = written(tmp_path, MINIMAL + "[grpo]\nsteps = 0\n")
    with pytest.raises(RecipeError) as error:
        read_recipe(path)
    assert str(error.value) == f"{path}, [grpo]: steps = 0: expected 1 or more"


@pytest.mark.parametrize("name", ["homeowner", "homeowner-qwen3", "homeowner-qwen05"])
def test_shipped_recipes_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    recipe = read_recipe(ROOT / "runs" / f"{name}.toml")
    assert recipe.name == name
    assert recipe.tracking.experiment == name
    assert len(recipe.task.labels) == 18


def test_shipped_recipes_describe_one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    names = ("homeowner", "homeowner-qwen05", "homeowner-qwen3")
    small, folder, large = (read_recipe(ROOT / "runs" / f"{name}.toml") for name in names)
    for other in (folder, large):
        assert (small.task, small.data, small.splits, small.seed) == (other.task, other.data, other.splits, other.seed)
    assert large.model.name == "Qwen/Qwen3-0.6B"
    assert folder.model.name.startswith("./"), "a folder, and never taken for the id of a hub"


# Of the tables that a run keeps from its beginning: data, splits, task, model, seed; as they were on 25 November 2026.
FINGERPRINTS = {
    "banking77": "3fa01f0f42a26bd7 97bfc1cd134986ee 639c773bbee8e2ea a691c562b107957d de7d7744ccd7722e",
    "homeowner-qwen3": "7b0ec8d0a0aece05 43ec6c525550b1f6 22266358faad49dc de7686493cef6c0f de7d7744ccd7722e",
    "homeowner": "7b0ec8d0a0aece05 43ec6c525550b1f6 22266358faad49dc a691c562b107957d de7d7744ccd7722e",
    "openbookqa": "5845c4045f3ec3f7 9ec86982b0149f1a 05d56c76d2abdc46 a691c562b107957d de7d7744ccd7722e",
    "sofmattress": "eae457f7a45175f3 9ec86982b0149f1a c9571a7f38d3b5e7 a691c562b107957d de7d7744ccd7722e",
}


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_runs_that_were_begun_with_shipped_recipes_go_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = read_recipe(ROOT / "runs" / f"{name}.toml").fingerprints()
    assert " ".join(found[table] for table in (*FIXED_TABLES, "seed")) == FINGERPRINTS[name]


def test_the_page_of_settings_has_every_key_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    page = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    shown = tomllib.loads(block)
    assert (shown.pop("name"), shown.pop("seed"), tuple(shown.pop("stages"))) == ("", 0, DEFAULT_STAGES)
    assert shown["data"].pop("path")
    assert shown["task"].pop("instructions")
    for table, values in shown.items():
        cls = TABLES.get(table) or stage_class(table)
        defaults = {one.name: one.default for one in fields(cls)}
        for key, value in values.items():
            assert (tuple(value) if isinstance(value, list) else value) == defaults[key], f"[{table}] {key}"
    commented = set(re.findall(r"^# (\w+) =", block, re.MULTILINE)) | {"path", "instructions", "settings"}
    for table, cls in TABLES.items():
        assert {one.name for one in fields(cls)} - set(shown[table]) <= commented


def test_defaults_that_do_not_fit_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    few = read_recipe(written(tmp_path, MINIMAL + '[baselines]\nnames = ["sgd-chars"]\n')).compare
    assert (few.curves, few.noise) == ((), ("sgd-chars",))
    all_of_them = read_recipe(written(tmp_path, MINIMAL)).compare
    assert (all_of_them.curves, all_of_them.noise) == (CompareTable.curves, CompareTable.noise)


def test_reading_a_recipe_imports_nothing_heavy() -> None:
    code = (
        "import sys; from workbench.recipe.read import read_recipe; read_recipe('runs/homeowner.toml'); "
        "print([name for name in ('torch', 'dspy', 'trl', 'mlflow', 'transformers') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_changed_table_changes_its_fingerprint_only(tmp_path: Path) -> None:
    one = read_recipe(written(tmp_path, MINIMAL)).fingerprints()
    two = read_recipe(written(tmp_path, MINIMAL + "[model]\nname = 'other'\n[gepa]\nn_words = 2\n")).fingerprints()
    assert {name for name in one if one[name] != two[name]} == {"model"}
    assert set(FIXED_TABLES) <= set(one)


PRICED = MINIMAL + 'labels = ["pool", "hvac"]\n[costs]\nabstain = 0.3\n[costs.matrix]\n"hvac" = {"pool" = 5}\n'


def test_prices_become_the_tasks(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, PRICED))
    assert recipe.task_for(()).costs == Costs((("hvac", "pool", 5.0),), abstain=0.3)
    plain = read_recipe(written(tmp_path, MINIMAL + "[costs]\nwrong = 1\n"))
    assert plain.task_for(("a", "b")).costs is None


def test_all_that_is_wrong_with_prices_is_told_at_once(tmp_path: Path) -> None:
    bad = PRICED.replace('"hvac" = {"pool" = 5}', '"spa" = {"pool" = 1, "sauna" = 2}')
    with pytest.raises(
        RecipeError, match=r"\[costs\].*matrix names 'spa' and 'sauna': expected labels of pool and hvac"
    ):
        read_recipe(written(tmp_path, bad))
    bad = PRICED.replace("= 5", "= -5").replace("0.3", "nan\nright = -1")
    with pytest.raises(RecipeError) as told:
        read_recipe(written(tmp_path, bad))
    for fault in (
        "matrix.hvac.pool = -5.0: expected 0 or more",
        "abstain = nan: expected a finite",
        "right = -1.0: expected",
    ):
        assert fault in str(told.value)
    with pytest.raises(RecipeError, match="every answer costs the same"):
        read_recipe(written(tmp_path, MINIMAL + 'labels = ["pool", "hvac"]\n[costs]\nwrong = 0\n'))
    by_row = MINIMAL.replace("[task]", 'choices = "choices"\n[task]') + "[costs]\nwrong = 2\n"
    with pytest.raises(RecipeError, match="rows bring their own choices, which no price can name"):
        read_recipe(written(tmp_path, by_row))


def test_prices_of_labels_that_the_data_lack_are_refused_when_it_is_read(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, PRICED.replace('labels = ["pool", "hvac"]\n', "")))
    with pytest.raises(
        RecipeError, match=r"mine\.toml, \[costs\]: matrix names 'hvac': expected labels of fence and pool"
    ):
        recipe.task_for(("pool", "fence"))


def test_money_is_of_candidates_that_there_are_and_never_negative(tmp_path: Path) -> None:
    good = read_recipe(
        written(tmp_path, MINIMAL + "[money]\nperson = 300\nhour = 0.1\n[money.candidates]\nuntuned = 2\n")
    )
    assert good.money == MoneyTable(300, 0.1, {"untuned": 2})
    with pytest.raises(RecipeError, match=r"\[money\].*candidates: unknown candidate 'untuned_'"):
        read_recipe(written(tmp_path, MINIMAL + "[money.candidates]\nuntuned_ = 2\n"))
    with pytest.raises(RecipeError, match=r"\[money\].*person = -1.*hour = -2"):
        read_recipe(written(tmp_path, MINIMAL + "[money]\nperson = -1\nhour = -2\n"))


def test_a_persons_money_needs_some_of_a_candidate_beside_it(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"\[money\]: person = 300.0 alone .*expected hour, or prices of candidates, beside it"
    ):
        read_recipe(written(tmp_path, MINIMAL + "[money]\nperson = 300.0\n"))
    for beside in ("hour = 0.0", "candidates = {untuned = 0}"):
        assert read_recipe(written(tmp_path, MINIMAL + f"[money]\nperson = 300.0\n{beside}\n")).money.person == 300


def test_a_hosted_level_stands_behind_a_cascade_and_has_a_price_of_its_own(tmp_path: Path) -> None:
    hosted = '[cascade]\nhosted_model = "openai/gpt-4.1-mini"\n'
    priced = "[money]\ncandidates = {hosted = 12.5}\n"
    assert read_recipe(written(tmp_path, MINIMAL + hosted + priced + "hour = 1\n")).money.candidates == {"hosted": 12.5}
    with pytest.raises(RecipeError, match=r"\[money\]: candidates.hosted = 12.5 alone shows nothing, as no candidate"):
        read_recipe(written(tmp_path, MINIMAL + hosted + priced))
    with pytest.raises(RecipeError, match=r"\[money\].*unknown candidate 'hosted'"):
        read_recipe(written(tmp_path, MINIMAL + priced))
    with pytest.raises(RecipeError, match=r"\[cascade\].*hosted_url alone: expected hosted_model"):
        read_recipe(written(tmp_path, MINIMAL + '[cascade]\nhosted_url = "http://127.0.0.1:8000/v1"\n'))
    with pytest.raises(RecipeError, match=r"\[cascade\].*which most_levels = 0 leaves out"):
        read_recipe(written(tmp_path, MINIMAL + hosted + "most_levels = 0\n"))


def test_a_hosted_level_needs_a_cascade_of_two_before_it(tmp_path: Path) -> None:
    hosted = "stages = []\n" + MINIMAL + '[cascade]\nhosted_model = "far"\n'
    # A run of no stages has the model untuned, and no baseline that looks at a row.
    for more in ('[baselines]\nnames = ["majority"]\n', '[baselines]\nnames = []\n[models]\ncandidates = ["free"]\n'):
        with pytest.raises(RecipeError, match=r"\[cascade\]: hosted_model .* two candidates .*: untuned may be asked"):
            read_recipe(written(tmp_path, hosted + more))
    with pytest.raises(RecipeError, match=r"\[cascade\]: hosted_model .*: words may be asked here"):
        read_recipe(written(tmp_path, hosted + 'members = ["words"]\n[baselines]\nnames = ["words"]\n'))
    assert read_recipe(written(tmp_path, hosted + '[baselines]\nnames = ["words"]\n')).cascade.hosted_model == "far"
