"""What makes a result stale: what code does, not what is written about it; models' files; rows; settings."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import workbench_fakes

from workbench.compare.jobs import measured_code
from workbench.run import identity

ENGINE = "labelwright.engines.transformers"
HOUSE = ("labelwright", "programs", "rewards", "optimizers", "baselines", "workbench")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the house; one for all tests, for reading it all takes a second."""
    root = tmp_path_factory.mktemp("house")
    for folder in HOUSE:
        shutil.copytree(identity.ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture
def tree(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The copy, of which files may be changed: they are put back."""
    monkeypatch.setattr(identity, "ROOT", copy)
    kept = {path: path.read_bytes() for path in copy.rglob("*.py")}
    yield copy
    for path in copy.rglob("*.py"):
        if path not in kept:
            path.unlink()
        elif path.read_bytes() != kept[path]:
            path.write_bytes(kept[path])


def versions() -> dict[str, str]:
    return {
        "words": measured_code("baselines.linear"),
        "minilm": measured_code("baselines.embeddings"),
        "model": measured_code(ENGINE),
        "sft": identity.code_version(("workbench.run.steps", "optimizers.training.sft", ENGINE)),
        "gepa": identity.code_version(("workbench.run.steps", "optimizers.gepa.stage", ENGINE)),
    }


BASELINES, MODELS, STEPS = {"words", "minilm"}, {"model"}, {"sft", "gepa"}


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("labelwright/prompt.py", BASELINES | MODELS | STEPS),
        ("labelwright/statistics/metrics.py", BASELINES | MODELS | STEPS),
        ("labelwright/statistics/calibration.py", BASELINES | MODELS | STEPS),
        ("labelwright/predictors/ngrams.py", {"words"}),
        ("labelwright/predictors/embeddings.py", {"minilm"}),
        ("baselines/linear.py", {"words"}),
        ("baselines/base.py", BASELINES),
        ("optimizers/training/sft.py", {"sft"}),
        ("optimizers/training/trainer.py", {"sft"}),
        ("optimizers/gepa/search.py", {"gepa"}),
        ("programs/decision.py", {"gepa"}),
        ("rewards/label_match.py", {"gepa"}),
        ("labelwright/engines/transformers.py", MODELS | STEPS),
        ("optimizers/calibrate.py", BASELINES | MODELS),
        ("workbench/compare/measure.py", BASELINES | MODELS),
        ("workbench/run/usage.py", BASELINES | MODELS | STEPS),
        ("workbench/run/steps.py", STEPS),
        ("workbench/recipe/splits.py", STEPS),
        # Rows and settings are in the keys as they are, whoever read them.
        ("workbench/recipe/rows.py", set()),
        ("workbench/recipe/recipe.py", set()),
        ("workbench/recipe/stages.py", set()),
        ("workbench/recipe/tables/data.py", set()),
        ("workbench/compare/processes/worker.py", set()),
        ("workbench/compare/jobs.py", set()),
        ("workbench/report/document.py", set()),
        ("workbench/compare/leaderboard.py", set()),
        ("workbench/tracking/recorder.py", set()),
    ],
)
def test_changed_code_makes_stale_what_runs_it(tree: Path, changed: str, stale: set[str]) -> None:
    before = versions()
    with (tree / changed).open("a") as file:
        file.write("\nCHANGED = 1\n")
    after = versions()
    assert {name for name in before if before[name] != after[name]} == stale


def test_words_about_the_code_do_not_count(tree: Path) -> None:
    before = versions()
    for path in (tree / folder for folder in HOUSE):
        for module in path.rglob("*.py"):
            text = module.read_text()
            if text.startswith('"""'):
                text = '"""Said otherwise. ' + text[3:]
            module.write_text("# a comment\n" + text + "\n\n# and one more\n")
    assert versions() == before


def test_a_changed_number_a_changed_default_or_another_import_counts(tree: Path) -> None:
    path = tree / "optimizers" / "calibration_choice.py"
    seen = [versions()["words"]]
    for old, new in [
        ("PENALTIES = (0.3, 1.0", "PENALTIES = (0.2, 1.0"),
        ("n_folds: int = N_FOLDS", "n_folds: int = 4"),
        ("best.log_loss >= before", "best.log_loss > before"),
    ]:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        seen.append(versions()["words"])
    assert len(set(seen)) == len(seen)


def test_a_new_module_counts_as_soon_as_it_is_imported_even_inside_a_function(tree: Path) -> None:
    new = tree / "labelwright" / "weighting.py"
    new.write_text("WEIGHT = 1\n")
    before = versions()
    metrics = tree / "labelwright" / "statistics" / "metrics.py"
    metrics.write_text(metrics.read_text() + "\n\ndef weigh():\n    from labelwright.weighting import WEIGHT\n")
    between = versions()
    new.write_text("WEIGHT = 2\n")
    after = versions()
    assert len({before["words"], between["words"], after["words"]}) == 3


def test_every_module_of_the_house_that_a_candidate_imports_is_known(tree: Path) -> None:
    """What the process of a candidate imports by itself, before its own family, is what the version is taken of."""
    script = "import sys, workbench.compare.measure, baselines.linear;"
    said = subprocess.run(
        [sys.executable, "-c", script + "print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env=workbench_fakes.environment(),
    )
    loaded = {name for name in said.stdout.split() if name.split(".")[0] in HOUSE}
    assert len(loaded) > 20
    before = measured_code("baselines.linear")
    for name in sorted(loaded):
        path = tree.joinpath(*name.split("."))
        path = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
        with path.open("a") as file:
            file.write("\nCHANGED = 1\n")
        after = measured_code("baselines.linear")
        assert after != before, name
        before = after


def test_another_version_of_a_library_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = versions()
    real = identity._version
    monkeypatch.setattr(identity, "_version", lambda name: "other" if name == "trl" else real(name))
    after = versions()
    assert {name for name in before if before[name] != after[name]} == {"sft"}


def test_a_models_content_is_that_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWRIGHT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"a" * (identity._LARGE_BYTES + 1))
    seen = [identity.content_of(str(folder)), identity.content_of(str(folder))]
    assert seen[0] == seen[1] != ""
    # Another byte, the same size; another small file; another name.
    (folder / "model.safetensors").write_bytes(b"a" * identity._LARGE_BYTES + b"b")
    seen.append(identity.content_of(str(folder)))
    (folder / "config.json").write_text("[]")
    seen.append(identity.content_of(str(folder)))
    (folder / "config.json").rename(folder / "other.json")
    seen.append(identity.content_of(str(folder)))
    assert len(set(seen)) == 4


def test_large_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWRIGHT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"a" * (identity._LARGE_BYTES + 1))
    before = identity.content_of(str(folder))
    monkeypatch.setattr(identity.hashlib, "file_digest", lambda *given: pytest.fail("read again"))
    assert identity.content_of(str(folder)) == before


def test_an_id_counts_by_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_KNOWN", {"code": {}, "content": {}})
    asked: list[tuple[str, bool]] = []
    monkeypatch.setattr(identity, "_commit_of", lambda name, fetch: asked.append((name, fetch)) or "abc")
    assert identity.content_of("owner/name") == identity.content_of("owner/name") == "abc"
    assert identity.content_of("model2vec:owner/other", fetch=False) == "abc"
    assert asked == [("owner/name", True), ("owner/other", False)]
    assert identity.content_of("smollm2") == ""
    assert identity.settings_content({"encoder": "owner/name", "model": 3, "reflection_model": "a/b"}) == ["abc"]


def test_a_file_that_a_setting_names_counts_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "preferences.jsonl"
    settings = {"preferences": str(path)}
    assert identity.settings_content(settings) == [], "whoever reads it says that it is not there"
    path.write_text("one")
    first = identity.settings_content(settings)
    path.write_text("two")
    assert len(first) == len(identity.settings_content(settings)) == 1
    assert first != identity.settings_content(settings)


def test_a_model_is_called_the_same_for_as_long_as_a_process_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_KNOWN", {"code": {}, "content": {}})
    commits = iter(["", "fetched meanwhile"])
    monkeypatch.setattr(identity, "_commit_of", lambda name, fetch: next(commits))
    assert identity.content_of("owner/name") == identity.content_of("owner/name") == ""


def test_a_child_takes_its_parents_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    code, content = measured_code(ENGINE), identity.content_of(str(tmp_path))
    for name, value in identity.handed_down().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "config.json").write_text("[]")
    monkeypatch.setattr(identity, "_read", lambda *given: pytest.fail("looked by itself"))
    assert measured_code(ENGINE) == code
    assert identity.content_of(str(tmp_path)) == content


def test_what_a_library_puts_on_the_path_is_not_installed(tmp_path, monkeypatch):
    """As Ray does when it is imported; and a process that was begun elsewhere has another folder in front."""
    ask = identity.environment.__wrapped__  # a process asks once
    before = ask()
    about = tmp_path / "carried-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "carried" in {one.name for one in importlib.metadata.distributions()}
    assert ask() == before
    monkeypatch.setattr(identity.site, "getsitepackages", lambda: [str(tmp_path)])
    assert ask() != before
