"""Time a row with many labels is held against few."""

import pytest

from bench.scoring import labels as labels_module
from bench.scoring.labels import codes_151_vs_18, labels_77_vs_18_tuned
from bench.setting import open_setting, tuned_setting
from labelwright.bundle.store import save
from labelwright.bundle.types import Bundle
from labelwright.data.task import Label, Task
from labelwright.errors import DataError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration


def test_time_is_compared_between_many_and_few_labels(setting, monkeypatch, shows_both_sides):
    monkeypatch.setattr("bench.scoring.labels.N_CODES", 12)  # the tiny model reads 512 tokens
    measured = codes_151_vs_18(setting, n_rows=4, rounds=2)
    shows_both_sides(measured, {"many", "few"}, n_rounds=2)
    assert measured.at_most
    assert (measured.facts["many"]["labels"], measured.facts["few"]["labels"]) == (12, 18)


@pytest.fixture
def two_recipes(recipe, model, tmp_path, monkeypatch):
    """Of three labels and of twelve; and what exports a bundle of either, as sure as it is asked to be."""
    monkeypatch.chdir(tmp_path)
    many = recipe.with_name("many.toml")
    many.write_text(recipe.read_text(encoding="utf-8").replace('name = "toy"', 'name = "many"'), encoding="utf-8")
    monkeypatch.setattr(labels_module, "MANY_LABELS", many)
    of_three = open_setting(recipe)

    def export(name, n_labels, temperature):
        # Their first tokens differ, so that a sure model follows one of them.
        others = [
            f"{word} pool and fence" for word in ("is", "what", "my", "a", "water", "the", "garden", "door", "on")
        ]
        names = [*of_three.task.names, *others][:n_labels]
        task = Task(name, "Name the topic of the message.", tuple(map(Label, names)))
        bundle = Bundle(
            task, Prompt.for_task(task, of_three.engine.template), Base(str(model)), Calibration(temperature)
        )
        run = tmp_path / "runs" / name / "20260101-000000"
        save(bundle, run / "bundle")
        (run / "state.json").write_text("{}", encoding="utf-8")

    return of_three, export


def test_tuned_bundles_are_compared_as_they_answer(two_recipes, shows_both_sides):
    untuned, export = two_recipes
    export("toy", 3, 1.0)
    few = tuned_setting(untuned)
    with pytest.raises(DataError, match=r"make demo RECIPE=.*many\.toml"):
        labels_77_vs_18_tuned(few)
    fed = []
    for temperature in (1000.0, 0.01):
        export("many", 12, temperature)
        measured = labels_77_vs_18_tuned(few, rounds=2)
        shows_both_sides(measured, {"many", "few"}, n_rounds=2)
        assert (measured.goal, measured.at_most) == (2.5, True)
        many = measured.facts["many"]
        assert (many["labels"], measured.facts["few"]["labels"]) == (12, 3)
        assert many["rows"] == measured.facts["few"]["rows"] == len(untuned.dev), "rows that taught nothing"
        fed.append((many["confidence_mean"], many["nodes_fed_mean"]))
    (unsure, all_nodes), (sure, fewer) = fed
    assert unsure < 0.9 < sure, "the bundle's own calibration"
    assert fewer < all_nodes
