"""``[synthetic]``: train rows that a larger model writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labelwright.errors import RecipeError
from labelwright.settings import Check, Range, Text, url_fault
from workbench.recipe.tables.fields import Name, Names, Share

# Who writes a row, and how long it is: said to the model, one of each a question.
PERSONAS = (
    *("someone in a hurry, on a phone, with a typo", "someone who tells the whole story first"),
    *("a beginner who lacks the right words", "an expert who uses technical terms", "someone who is annoyed"),
    *("someone polite who asks a question", "someone for whom this is a second language"),
)
LENGTHS = ("a few words, no full sentence", "one sentence", "two or three sentences")


@dataclass(frozen=True)
class SyntheticTable:
    """``[synthetic]``: train rows that a larger model writes (`make synthesize`), and which baselines learn them.

    Attributes
    ----------
    model : str
        Who writes: any model as DSPy names them ("openai/gpt-4.1-mini"); with ``url`` the name under which that server
        has it.
    url : str
        An OpenAI-compatible server. Keys come from the environment.
    check_model, check_url : str
        Who is asked for the label of what was written, in the same way; empty: who wrote it.
    path : str
        Rows to learn in place of those that are written to runs/NAME/synthetic.jsonl; a file that is only read.
    candidates : tuple of str
        Of ``[baselines] names``: each stands in the comparison once more, as one that learnt these rows besides.
    rows_per_label : int
        So many are wanted, after all that is dropped.
    rows_per_call : int
        Asked for at a time, all after one seed row.
    max_calls : int
        Questions in all, checks and those of earlier commands included.
    at_once : int
        Questions in flight at a time.
    temperature : float
        Of who writes; who checks is asked at 0.
    max_tokens : int
        Of an answer, thoughts included.
    near_copy : float
        Share of runs of four characters from which on a row counts as a copy of another. Of the shipped rows, those of
        different families that are most alike share 0.28.
    personas, lengths : tuple of str
        Said to who writes, one of each a question.
    """

    model: Name = ""
    url: Annotated[str, Text(), Check(url_fault)] = ""
    check_model: Name = ""
    check_url: Annotated[str, Text(), Check(url_fault)] = ""
    path: Name = ""
    candidates: Names = ()
    rows_per_label: Annotated[int, Range(1, 10_000)] = 16
    rows_per_call: Annotated[int, Range(1, 50)] = 4
    max_calls: Annotated[int, Range(1, 1_000_000)] = 2000
    at_once: Annotated[int, Range(1, 64)] = 4
    temperature: Annotated[float, Range(0, 2)] = 0.9
    max_tokens: Annotated[int, Range(16, 100_000)] = 1000
    near_copy: Share = 0.5
    personas: Names = PERSONAS
    lengths: Names = LENGTHS

    def __post_init__(self) -> None:
        faults = [
            f"{url} is set and {model} is not: expected the name under which the server has the model"
            for url, model in (("url", "model"), ("check_url", "check_model"))
            if getattr(self, url) and not getattr(self, model)
        ]
        faults += [f"{name} = []: expected one at least" for name in ("personas", "lengths") if not getattr(self, name)]
        if faults:
            raise RecipeError("; ".join(faults))
