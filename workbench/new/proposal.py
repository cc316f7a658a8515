"""What a first recipe proposes for so many rows, labels and tokens: shares, candidates, budgets.

The measure is a first comparison within minutes on two cores. What is left out for its price or because it reads no
other language is said in the recipe, where it can be put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from workbench.new.findings import Findings
from workbench.new.language import is_english
from workbench.new.text import Line
from workbench.recipe.recipe import BaselineTable, SplitTable

_SHARES = asdict(SplitTable())
Tables = dict[str, list[Line]]

# Rows that a person waits for: where there are more, a twentieth is enough to choose by and to calibrate on.
_MANY_ROWS = 5_000
# Tokens that encoders read in the minutes that there are: MiniLM reads about 1,500 a second on two cores.
_ENCODER_TOKENS = 600_000
# Rows times tokens that an encoder is trained on in about a minute.
_TRAINED_TOKENS = 40_000
# A language model's price grows with labels, tokens of a row and test rows; beyond these it takes hours, not minutes.
_MODEL_LABELS, _MODEL_TOKENS, _MODEL_TEST_ROWS, _MODEL_ROWS = 40, 120, 1_000, 10_000
# Rows that character n-grams learn from in minutes.
_MOST_ROWS = 50_000
# Encoders read 256 tokens, and the count of tokens is rough.
_READ_WHOLE = 150
_WORDS = ("majority", "sgd-ngrams", "sgd-chars")


def propose(found: Findings, by_row: bool = False) -> Tables:
    """Tables of settings other than the defaults, for these rows.

    Parameters
    ----------
    by_row : bool
        Whether rows bring their own choices.
    """
    n_used = min(found.n_rows, _MOST_ROWS)
    n_test = found.n_test or round(n_used * _SHARES["test"])
    tokens = max(found.n_tokens, 1)
    english = not found.languages or is_english(dict(found.languages))
    with_encoder = english and (n_used + n_test) * tokens <= _ENCODER_TOKENS
    with_model = english and not by_row and _model_fits(found, n_test)
    tables: Tables = {"": [], "data": [], "splits": [], "model": [], "gepa": [], "sft": [], "grpo": []}
    tables |= {"baselines": [], "models": [], "compare": [], "export": []}
    if found.n_rows > _MOST_ROWS:
        tables["data"].append(Line("max_rows", _MOST_ROWS, f"of {found.n_rows}, so that it takes minutes; 0 takes all"))
    if found.n_rows > _MANY_ROWS:
        tables["splits"] += [
            Line("dev", 0.05, "enough of so many rows to choose by"),
            Line("calib", 0.05, "and to fit probabilities on"),
        ]
    if found.longest > _READ_WHOLE:
        tables["model"].append(
            Line("long_rows", "head_tail", f"the longest text has about {found.longest} tokens; encoders read 256")
        )
    if by_row:
        of_choices = ["chance", "minilm-nearest-choice", "pair-logreg"]
        tables["baselines"].append(Line("names", of_choices, "rows bring their own choices"))
    elif names := _baselines(found, n_used, tokens, english, with_encoder):
        tables["baselines"].append(names)
    if with_model or by_row:
        tables["gepa"].append(Line("max_metric_calls", 1200, "rows scored while instructions are tried"))
        tables["sft"].append(Line("steps", 50, "of 16 rows"))
        tables["grpo"].append(Line("steps", 50, "of 16 rows"))
        tables["models"].append(
            Line("candidates", ["untuned", "prior", "sft"], "tunings of the model, each from the untuned one")
        )
    else:
        why = _why_no_model(found, n_test, english)
        tables[""].append(Line("stages", [], f"no tuning of a language model: {why}"))
        tables["export"].append(Line("candidate", "ship", "what the comparison says to ship"))
    if found.n_rows > _MANY_ROWS:
        tables["compare"].append(
            Line("seeds", 1, "more seeds say how much chance there is, at the price of a training each")
        )
    if not with_encoder and not by_row:
        tables["compare"] += _of_words(found)
    return tables


def _baselines(found: Findings, n_used: int, tokens: int, english: bool, with_encoder: bool) -> Line | None:
    """The names of baselines, where they differ from the default."""
    if not english:
        named = ", ".join(found.languages) or "unknown"
        return Line("names", list(_WORDS), f"language: {named}; the shipped MiniLM reads English, characters carry any")
    if not with_encoder:
        return Line(
            "names",
            list(_WORDS),
            f"MiniLM would read {(n_used + found.n_test) * tokens:,} tokens: too long for a first look",
        )
    names = [name for name in BaselineTable.names if not (found.numbered and name == "minilm-nearest-name")]
    if n_used * tokens <= _TRAINED_TOKENS:
        names.append("encoder-ce")
    if names == list(BaselineTable.names):
        return None
    why = (
        "labels are numbers, whose names say nothing"
        if found.numbered
        else "few rows: an encoder is trained within a minute"
    )
    return Line("names", names, why)


def _of_words(found: Findings) -> list[Line]:
    """What the comparison draws and doubts by, where nothing of the default stands in it but n-grams."""
    return [Line("curves", ["sgd-ngrams", "sgd-chars"]), Line("noise", ["sgd-ngrams", "sgd-chars"])]


def _model_fits(found: Findings, n_test: int) -> bool:
    small = len(found.counts) <= _MODEL_LABELS and n_test <= _MODEL_TEST_ROWS and found.n_rows <= _MODEL_ROWS
    return small and found.n_tokens <= _MODEL_TOKENS and not found.numbered


def _why_no_model(found: Findings, n_test: int, english: bool) -> str:
    """The first reason, with what would have to be otherwise."""
    limits: Mapping[str, Any] = {
        "the shipped one reads English": not english,
        f"{len(found.counts)} labels": len(found.counts) > _MODEL_LABELS,
        f"{n_test} test rows": n_test > _MODEL_TEST_ROWS,
        f"{found.n_rows} rows": found.n_rows > _MODEL_ROWS,
        f"{found.n_tokens} tokens a text": found.n_tokens > _MODEL_TOKENS,
        "labels that are numbers": found.numbered,
    }
    said = next((reason for reason, holds in limits.items() if holds), "")
    return said if not english else f"{said} would take it long on two cores" if "numbers" not in said else said
