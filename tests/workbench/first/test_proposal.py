"""What is proposed for so many rows: within minutes, and with a word on what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.first.findings import Findings
from workbench.first.proposal import propose
from workbench.recipe.tables.candidates import BaselineTable


def found(n_rows: int = 1_000, n_labels: int = 5, n_tokens: int = 15, language: str = "en", **more: Any) -> Findings:
    counts = {f"label {i}": n_rows // n_labels for i in range(n_labels)}
    given = {"n_test": 0, "longest": 2 * n_tokens, **more}
    return Findings(n_rows, counts=counts, families=counts, n_tokens=n_tokens, languages={language: 1.0}, **given)


def proposed(findings: Findings, has_choices: bool = False) -> dict[str, Any]:
    """Settings by "table.key"."""
    return {f"{table}.{one.key}": one.value for table, lines in propose(findings, has_choices).items() for one in lines}


def test_few_rows_afford_everything() -> None:
    settings = proposed(found())
    assert settings["baselines.names"] == [*BaselineTable.names, "encoder-ce"]
    assert settings["models.candidates"] == ["untuned", "prior", "sft"]
    assert settings["demo.minutes"] == 10
    assert settings["demo.candidates"] == ["majority", "sgd-ngrams", "sgd-chars", "minilm-logreg"]
    assert settings["export.candidate"] == "ship"
    assert len(settings) == 5


@pytest.mark.parametrize(
    ("findings", "names"),
    [
        (found(5_000), None),
        (found(40_000), ["majority", "sgd-ngrams", "sgd-chars", "minilm-logreg", "minilm-nearest-name"]),
        (found(50_000, n_tokens=30), ["majority", "sgd-ngrams", "sgd-chars", "minilm-logreg"]),
        (found(50_000, n_tokens=300), ["majority", "sgd-ngrams", "sgd-chars"]),
        (found(1_000, language="de"), ["majority", "sgd-ngrams", "sgd-chars"]),
    ],
)
def test_more_rows_afford_fewer_heads_on_an_encoder(findings: Findings, names: list[str] | None) -> None:
    assert proposed(findings).get("baselines.names") == names


@pytest.mark.parametrize(
    ("findings", "why"),
    [
        (found(20_000), "rows of dev and test"),
        (found(n_labels=77), "77 labels take it longer"),
        (found(n_tokens=400), "400 tokens a text"),
        (found(n_test=3_000), "3120 rows of dev and test"),
        (found(language="fr"), "reads English"),
    ],
)
def test_a_language_model_that_would_take_hours_is_left_out_with_a_reason(findings: Findings, why: str) -> None:
    settings = proposed(findings)
    assert settings[".stages"] == []
    assert "models.candidates" not in settings
    assert why in next(line.comment for line in propose(findings)[""])


def test_many_rows_are_drawn_from_and_dealt_otherwise() -> None:
    settings = proposed(found(200_000))
    assert settings["data.max_rows"] == 50_000
    assert (settings["splits.dev"], settings["splits.calib"], settings["compare.seeds"]) == (0.05, 0.05, 1)
    assert "data.max_rows" not in proposed(found(50_000))


def test_long_texts_are_shortened_aloud() -> None:
    assert proposed(found(longest=900))["model.long_rows"] == "head_tail"
    assert "model.long_rows" not in proposed(found(longest=100))


def test_numbers_as_labels_name_nothing() -> None:
    counts = {"0": 500, "1": 500}
    settings = proposed(Findings(1_000, 0, counts=counts, families=counts, n_tokens=15, longest=30))
    assert "minilm-nearest-name" not in settings["baselines.names"]
    assert settings[".stages"] == []


def test_rows_that_bring_their_own_choices() -> None:
    assert proposed(found(), has_choices=True)["baselines.names"] == ["chance", "minilm-nearest-choice", "pair-logreg"]
