"""Export and comparison cut off before every renaming they do: what is recorded and what lies there always agree."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import workbench_fakes

from labelwright.bundle import files as bundle_files
from labelwright.bundle.store import load
from labelwright.errors import RecipeError
from labelwright.files import folder_digest, write_json
from workbench import verbs
from workbench.cli import main
from workbench.export import exported
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.run.folder import RunFolder, runs_of


class Killed(BaseException):
    """What nobody catches."""


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run folder after a comparison; the current folder is its workspace."""
    folder = tmp_path_factory.mktemp("cut-off")
    recipe = workbench_fakes.write_workspace(folder)
    text = recipe.read_text().replace('"words", "absent"]', '"words"]').replace("[compare]", "[compare]\nseeds = 1")
    text = text.replace("bootstrap = 200", "bootstrap = 100")
    recipe.write_text(text.replace('["gepa", "grpo", "calibrate"]', '["gepa"]'))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        workbench_fakes.install(patch.setattr)
        workbench_fakes.without_tracking(patch.setattr)
        workbench_fakes.without_plots(patch.setattr)
        assert main(["optimize", "toy.toml"]) == 0
        assert main(["compare", "toy.toml"]) == 0
        yield runs_of(folder / "runs" / "toy")[0]


@contextmanager
def killed_at(number: int) -> Iterator[list[str]]:
    """Die in place of the number-th renaming; yields what was renamed before."""
    done: list[str] = []

    def dying(real: Callable[..., None]) -> Callable[..., None]:
        def rename(source: Any, target: Any, **settings: Any) -> None:
            if len(done) == number:
                raise Killed
            done.append(Path(target).name)
            real(source, target, **settings)

        return rename

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", dying(os.rename))
        patch.setattr(os, "replace", dying(os.replace))
        yield done


def ends(number: int, verb: Callable[[], None]) -> bool:
    """Whether a verb comes to its end although it is to be killed at this renaming."""
    with killed_at(number):
        try:
            verb()
        except Killed:
            return False
    return True


def export(candidate: str) -> None:
    verbs.export(read_recipe("toy.toml"), "", False, Display(), candidate)


def candidate_of(bundle: Path) -> str:
    return str(load(bundle).history[-1]["candidate"])


def test_an_export_that_is_cut_off_is_not_taken_for_done(compared: Path) -> None:
    wanted = ["majority", "words"]
    export(wanted[0])
    number = 0
    while True:
        old, new = wanted[number % 2], wanted[(number + 1) % 2]
        whole = ends(number, lambda new=new: export(new))
        record = exported(RunFolder(compared))
        assert record is None or record["candidate"] == candidate_of(compared / "bundle")
        if whole:
            break
        if (compared / "bundle").exists():
            # Whichever is asked for next is there afterwards: it was done, or it is done now.
            export(old)
            assert candidate_of(compared / "bundle") == old
        export(new)
        assert candidate_of(compared / "bundle") == new
        number += 1
    assert number >= 3, "the bundle, the older one beside it, and the record are renamed at least"
    assert candidate_of(compared / "bundle") == new


def test_a_killed_export_is_not_what_predict_asks(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export("majority")
    state = (compared / "state.json").read_text()
    export("words")
    # As if killed between the bundle and the record.
    (compared / "state.json").write_text(state)
    capsys.readouterr()
    assert main(["predict", "toy.toml", "--text", "the skimmer is full of algae"]) == 0
    assert "1-gepa/bundle" in capsys.readouterr().out


def test_a_step_of_other_prices_is_not_exported(compared: Path) -> None:
    recipe = Path("toy.toml")
    text = recipe.read_text()
    recipe.write_text(f"{text}\n[costs]\nabstain = 0.2\n")
    try:
        with pytest.raises(RecipeError, match=r"1-gepa.bundle: \[costs\] changed since it was made"):
            verbs.export(read_recipe("toy.toml"), "", False, Display())
    finally:
        recipe.write_text(text)


def test_a_step_that_is_trained_again_is_exported_again(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verbs.export(read_recipe("toy.toml"), "", False, Display())
    before = load(compared / "bundle").prompt
    folder = RunFolder(compared)
    step = folder.done_steps()[-1]
    bundle = folder.bundle_path(step) / "bundle.json"
    kept = bundle.read_text()
    text = kept.replace("chlorine", "bromine")
    assert text != kept
    # Another bundle in a step of the same name: the step was done again.
    bundle.write_text(text)
    bundle_files.write_hashes(bundle.parent)
    done = bundle.parent.parent / "done.json"
    before_that = done.read_text()
    write_json(done, {**json.loads(before_that), "bundle": folder_digest(bundle.parent)})
    try:
        verbs.export(read_recipe("toy.toml"), "", False, Display())
        assert load(compared / "bundle").prompt != before
    finally:
        bundle.write_text(kept)
        bundle_files.write_hashes(bundle.parent)
        done.write_text(before_that)


def test_a_report_of_other_settings_lends_no_numbers(compared: Path) -> None:
    """Results of both settings are there; the report speaks of one of them."""
    recipe = Path("toy.toml")
    text = recipe.read_text()
    recipe.write_text(text.replace("[export]", "[baselines.settings.words]\nalpha = 1e-2\n[export]"))
    verbs.compare(read_recipe("toy.toml"), "", False, Display())
    recipe.write_text(text)
    with pytest.raises(RecipeError, match="what it was made of changed since; run make compare again"):
        export("words")
    verbs.compare(read_recipe("toy.toml"), "", False, Display())
    export("words")
    assert candidate_of(compared / "bundle") == "words"


def test_a_report_that_is_cut_off_is_not_taken_for_done(compared: Path) -> None:
    recipe = Path("toy.toml")
    text = recipe.read_text()
    report = json.loads((compared / "report.json").read_text())
    other = text.replace("bootstrap = 100", "bootstrap = 110")
    number = 0
    while True:
        recipe.write_text(other)
        whole = ends(number, lambda: verbs.compare(read_recipe("toy.toml"), "", False, Display()))
        recipe.write_text(text)
        if whole:
            break
        verbs.compare(read_recipe("toy.toml"), "", False, Display())
        again = json.loads((compared / "report.json").read_text())
        assert again["candidates"] == report["candidates"], f"cut off at renaming {number}"
        rows = (compared / "rows.jsonl").read_text().splitlines()
        assert len(rows) == report["splits"]["test"]
        number += 1
    assert number >= 5
    assert json.loads((compared / "report.json").read_text())["candidates"] != report["candidates"]
