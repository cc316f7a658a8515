"""What a first recipe proposes for so many rows, labels and tokens: shares, candidates, a budget of minutes.

The measure is a first comparison within minutes on two cores. What is left out for its price, or because it reads no
other language, is said in the recipe, where it can be put back. Prices are those of the README's runs on two cores:
MiniLM reads about 3,000 tokens a second, and learns all its weights from 250; the untuned language model answers five
rows a second, or two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from workbench.first.findings import Findings, is_english
from workbench.first.text import Line
from workbench.recipe.tables.candidates import BaselineTable
from workbench.recipe.tables.data import SplitTable

Tables = dict[str, list[Line]]

_MINUTES = 10
# Rows that character n-grams learn from in minutes.
_MOST_ROWS = 50_000
# Of more rows a twentieth is enough to choose by, and to fit probabilities on.
_MANY_ROWS = 5_000
_FEW_SHARE = 0.05
_WORDS = ("majority", "sgd-ngrams", "sgd-chars")
# What a first look compares: nothing learnt, words or characters, an encoder.
_DEMO = ("majority", "sgd-ngrams", "sgd-chars", "minilm-logreg", "chance", "minilm-nearest-choice", "pair-logreg")
# Tokens that are read by so many heads on MiniLM, each by itself, in about ten minutes.
_HEADS = ((360_000, 5), (900_000, 2), (1_800_000, 1))
# The heads that stand in for all, the more useful one first.
_FEW_HEADS = ("minilm-logreg", "minilm-nearest-name")
# Tokens that MiniLM learns all its weights from in two minutes.
_TRAINED_TOKENS = 30_000
# What an untuned language model answers in some minutes: rows of dev and test, labels, tokens of a row.
_MODEL_ROWS, _MODEL_LABELS, _MODEL_TOKENS = 1_000, 40, 150
# Encoders read 256 tokens; that many as they are counted here are certainly fewer.
_READ_WHOLE = 150


def propose(found: Findings, has_choices: bool = False) -> Tables:
    """Tables of settings other than the defaults, for these rows.

    Parameters
    ----------
    has_choices : bool
        Whether rows bring their own choices.
    """
    n_used = min(found.n_rows, _MOST_ROWS)
    shares = asdict(SplitTable())
    tables: Tables = {
        name: [] for name in ("", "data", "splits", "model", "baselines", "models", "compare", "demo", "export")
    }
    if n_used < found.n_rows:
        tables["data"].append(Line("max_rows", n_used, f"of {found.n_rows}, so that it takes minutes; 0 takes all"))
    if n_used > _MANY_ROWS:
        shares |= {"dev": _FEW_SHARE, "calib": _FEW_SHARE}
        tables["splits"] += [
            Line("dev", _FEW_SHARE, "enough of so many rows to choose by"),
            Line("calib", _FEW_SHARE, "and to fit probabilities on"),
        ]
        tables["compare"].append(Line("seeds", 1, "more say how much chance there is, and cost a training each"))
    if found.longest > _READ_WHOLE:
        why = f"the longest text has about {found.longest} tokens; encoders read 256"
        tables["model"].append(Line("long_rows", "head_tail", why))
    n_test = found.n_test or round(n_used * shares["test"])
    tables["baselines"] += _baselines(found, n_used, n_test, has_choices)
    if reason := _against_model(found, round(n_used * shares["dev"]) + n_test, has_choices):
        tables[""].append(Line("stages", [], f"no language model is tuned: {reason}"))
    else:
        tables["models"].append(
            Line("candidates", ["untuned", "prior", "sft"], "tunings of the model, beside the run's own")
        )
    stand_in = [name for name in _DEMO if name in _names_of(tables)]
    tables["demo"] += [
        Line("candidates", stand_in, "beside the run's own steps; `make compare` adds the rest"),
        Line("minutes", _MINUTES, "a budget: what is not expected to fit is left out, by name"),
    ]
    tables["export"].append(Line("candidate", "ship", "what the comparison says to ship, language model or not"))
    return tables


def _names_of(tables: Tables) -> Sequence[str]:
    """The baselines that stand in the comparison."""
    return next((line.value for line in tables["baselines"]), BaselineTable.names)


def _baselines(found: Findings, n_used: int, n_test: int, has_choices: bool) -> list[Line]:
    """The names of baselines, where they differ from the default."""
    if has_choices:
        return [_names(["chance", "minilm-nearest-choice", "pair-logreg"], "rows bring their own choices")]
    if not _reads(found):
        languages = ", ".join(found.languages)
        return [_names(_WORDS, f"language: {languages}; the shipped MiniLM reads English, characters carry any")]
    n_read = (n_used + n_test) * max(found.n_tokens, 1)
    n_heads = next((heads for most, heads in _HEADS if n_read <= most), 0)
    names = list(BaselineTable.names) if n_heads == _HEADS[0][1] else [*_WORDS, *_FEW_HEADS[:n_heads]]
    why = f"MiniLM would read {n_read:,} tokens for each head on it" if names != list(BaselineTable.names) else ""
    if n_used * found.n_tokens <= _TRAINED_TOKENS:
        names.append("encoder-ce")
        why = "so few rows that an encoder learns from them within two minutes"
    if found.numbered and "minilm-nearest-name" in names:
        names.remove("minilm-nearest-name")
        why = "labels are numbers: their names say nothing"
    return [_names(names, why)] if why else []


def _names(names: Sequence[str], why: str) -> Line:
    return Line("names", list(names), why)


def _reads(found: Findings) -> bool:
    """Whether the shipped models read the language of the rows, as far as it is known."""
    return not found.languages or is_english(found.languages)


def _against_model(found: Findings, n_scored: int, has_choices: bool) -> str:
    """What speaks against a language model on two cores; nothing where it answers within minutes."""
    if not _reads(found):
        return "the shipped one reads English"
    if found.numbered and not has_choices:
        return "labels are numbers, which say nothing to it; name them and take this line out"
    limits = [
        (n_scored, _MODEL_ROWS, "rows of dev and test"),
        (0 if has_choices else len(found.counts), _MODEL_LABELS, "labels"),
        (found.n_tokens, _MODEL_TOKENS, "tokens a text"),
    ]
    return "; ".join(f"{n} {what} take it longer than minutes on two cores" for n, most, what in limits if n > most)
