"""Versions of the registry, over a real store; that a bundle's files are logged is tested with the whole run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import toy_bundle

from labelwright.bundle.store import save
from labelwright.data.costs import Costs
from workbench.compare.board import Entry as Measured
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.run.folder import RunFolder
from workbench.tracking import entries
from workbench.tracking.recorder import Tracking
from workbench.tracking.writes import models

Export = Callable[[str, list[bool] | None], Any]


@pytest.fixture
def export(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    """Register a bundle of those instructions that was right on those test rows; returns the registered model."""

    def log_without_files(name: str, bundle: Path, texts: Any, logged_as: str, identity: str) -> int:
        import mlflow

        client = mlflow.MlflowClient()
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        return int(client.create_model_version(name, str(bundle)).version)

    monkeypatch.setattr(models, "log_bundle", log_without_files)
    folder = RunFolder.create(workspace / "runs" / "toy", "", {}, {})

    def run(instructions: str, right: list[bool] | None) -> Any:
        bundle = toy_bundle()
        bundle = bundle.with_stage({"stage": "gepa"}, prompt=bundle.prompt.with_instructions(instructions))
        save(bundle, folder.path / "bundle")
        tracking = Tracking(read_recipe("toy.toml"), RunFolder(folder.path), Display())
        rows = [(f"row-{n}", one, None, None) for n, one in enumerate(right or ())]
        with tracking.opened():
            tracking.begin({"split_digest": "d"})
            tracking.model(folder.path / "bundle", ["a"], Measured("gepa", "llm") if right else None, rows)
        model = tracking.delivery.store.client.get_registered_model("toy")
        return SimpleNamespace(
            aliases={alias: str(version) for alias, version in model.aliases.items()},
            description=model.description,
            newest=max(model.latest_versions, key=lambda one: int(one.version)),
        )

    return run


def test_a_newer_bundle_is_champion_where_it_is_better_and_challenger_where_nobody_can_tell(export: Export) -> None:
    half = [True] * 20 + [False] * 20
    assert export("first", half).aliases == {"champion": "1"}
    # The same bundle again is the same version.
    again = export("first", half)
    assert (again.aliases, int(again.newest.version)) == ({"champion": "1"}, 1)
    assert export("second", [True] * 21 + [False] * 19).aliases == {"champion": "1", "challenger": "2"}
    assert export("third", [True] * 40).aliases == {"champion": "3", "challenger": "2"}
    assert export("fourth", half).aliases == {"champion": "3", "challenger": "2"}, "one that is worse took a place"
    # One that was compared with nothing.
    assert export("fifth", None).aliases == {"champion": "3", "challenger": "5"}


def test_the_card_is_the_description_of_version_and_model(export: Export) -> None:
    model = export("first", [True] * 40)
    assert model.description.startswith("# toy")
    assert "library_name" not in model.description
    assert model.newest.description == model.description


def test_what_was_replaced_before_the_store_came_back_is_not_registered_under_the_old_numbers(
    export: Export, workspace: Path
) -> None:
    """As from a journal: another export has put another bundle in the place since."""
    export("first", [True] * 40)
    (bundle,) = workspace.glob("runs/toy/*/bundle")
    entry = entries.model(bundle, ["a"], None, ("", ""), ()) | {"identity": "of an earlier bundle"}
    tracking = Tracking(read_recipe("toy.toml"), RunFolder(bundle.parent), Display())
    with tracking.opened():
        assert tracking.delivery.ask(entry) is None
        assert tracking.delivery.ask({**entry, "identity": entries.bundle_identity(bundle)}) == "models:/toy/1"


def test_with_prices_the_entry_has_what_each_row_cost_and_which_prices_they_were(tmp_path: Path) -> None:
    def entry_of(price: float, costs: list[float | None]) -> dict[str, Any]:
        bundle = toy_bundle()
        name, other = bundle.task.names[:2]
        task = replace(bundle.task, costs=Costs(((name, other, price),)))
        save(replace(bundle, task=task), tmp_path / "bundle")
        rows = [(f"row-{n}", cost == 0, None, cost) for n, cost in enumerate(costs)]
        return entries.model(tmp_path / "bundle", ["a"], Measured("gepa", "llm"), ("", ""), rows)

    dear = entry_of(20.0, [0.0, 20.0, 1.0])
    assert (dear["costs"], dear["span"]) == ("[0.0, 1.0, 20.0] 0,2,1", "20.0")
    assert dear["prices"] == entry_of(20.0, [0.0])["prices"] != entry_of(30.0, [0.0])["prices"]
    # From a comparison of before costs were kept.
    assert "costs" not in entry_of(20.0, [None, None])
