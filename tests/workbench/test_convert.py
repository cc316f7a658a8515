"""The workbench's way out: the run's bundle for another runtime, certified on dev and never on test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_target
import pytest

from labelwright.bundle.store import load
from labelwright.conversion import targets
from labelwright.conversion.certificate import read_certificate
from labelwright.conversion.rows import of_examples
from workbench.cli import main
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import read_rows
from workbench.recipe.splits import read_splits
from workbench.run import session as running
from workbench.run.folder import runs_of


def test_a_bundle_leaves_certified_on_dev_and_what_came_of_it_is_recorded(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[dict[str, Any]] = []
    monkeypatch.setitem(targets.TARGETS, "fake", fake_target.TARGET)  # type: ignore[index]
    silent: Any = running.open_tracking
    monkeypatch.setattr(silent, "write", lambda self, entry, keep=True: written.append(entry), raising=False)
    assert main(["optimize", "toy.toml"]) == 0
    assert main(["convert", "toy.toml", "--to", "fake"]) == 2
    assert "make export" in capsys.readouterr().err
    assert main(["export", "toy.toml"]) == 0
    written.clear()
    assert main(["convert", "toy.toml", "--to", "fake", "--quantise", "near"]) == 0
    assert "within the tolerance" in capsys.readouterr().out
    (run,) = runs_of(workspace / "runs" / "toy")
    certificate = read_certificate(run / "bundle-fake-near" / "certificate.json")
    splits = read_splits(run / "splits.json", read_rows(read_recipe("toy.toml")))
    dev = of_examples(splits.dev, load(run / "bundle").task.names, "dev")
    assert (certificate.rows, certificate.rows_sha256) == ("dev", dev.sha256)
    assert certificate.n_rows == certificate.n_labelled == len(splits.dev)
    assert next(one for one in written if one["op"] == "artifact")["under"] == "conversion/fake-near"
    points = [point for one in written if one["op"] == "metrics" for point in one["points"]]
    assert {name: value for name, value, *_ in points}[
        "conversion.fake-near.max_difference"
    ] == certificate.max_difference
    assert main(["convert", "toy.toml", "--to", "fake", "--quantise", "far"]) == 1
    assert main(["convert", "toy.toml", "--to", "fake", "--quantise", "far"]) == 2
    assert "--force" in capsys.readouterr().err
