"""Corpora of labelled questions: some are documents, some queries, and some teach the bundle.

A train file is dealt, intent by intent, into rows that teach and documents; a test file is the queries, and train rows
that repeat one of them are left out. Relevant to a query are the documents of its intent, which are other questions.
What the category is makes the kind: the intent itself, where a right label is nearly the whole answer, or a domain of
several intents, where it tells where to look and no more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelwright.data.task import Example, by_label, normalise, read_examples
from labelwright.errors import DataError
from labelwright.files import write_text

# Of Banking77's intents, the domain: the first one of which a word is in the intent's name.
DOMAINS: Mapping[str, tuple[str, ...]] = {
    "top-up": ("top_up", "topping_up"),
    "identity": ("verify", "identity"),
    "cash": ("cash", "atm", "swallowed"),
    "transfer": ("transfer", "beneficiary", "receiving_money"),
    "exchange": ("exchange", "currency"),
    "refund": ("refund", "reverted"),
    "payment": ("payment", "charge", "charged"),
    "virtual card": ("virtual", "disposable"),
    "code": ("pin", "passcode"),
    "trouble with a card": ("not_working", "compromised", "stolen", "expire"),
    "getting a card": ("arrival", "delivery", "physical", "spare", "activate", "linking", "supported", "visa"),
    "account": ("account", "personal", "age_limit", "country", "acceptance", "apple_pay"),
}
# Of an intent's rows, the share that teaches the bundle; the others are documents.
SHARE_TAUGHT = 1 / 3


@dataclass(frozen=True)
class Kind:
    """A corpus.

    Attributes
    ----------
    folder : str
        Of the dataset, with train.jsonl and test.jsonl.
    category : callable
        From an intent to the category.
    out_of_scope : str
        The label of test rows that belong to no intent: they are no queries.
    """

    folder: str
    category: Callable[[str], str]
    out_of_scope: str = ""


def domain(intent: str) -> str:
    """The domain of one of Banking77's intents. Raises DataError for another one."""
    for name, words in DOMAINS.items():
        if any(word in intent.lower() for word in words):
            return name
    raise DataError(f"no domain for the intent {intent!r}; the domains are of Banking77's intents")


KINDS = {
    "intents": Kind("banking77", str),
    "domains": Kind("banking77", domain),
    "sofmattress": Kind("hint3_sofmattress", str, out_of_scope="NO_NODES_DETECTED"),
}


def write_corpus(kind: Kind, data: Path, folder: Path, seed: int, n_taught: int = 0) -> None:
    """Write taught.jsonl, documents.jsonl, queries.jsonl and pairs.txt into a folder.

    Parameters
    ----------
    n_taught : int
        Rows an intent that teach, to make the bundle a worse one; 0: all of ``SHARE_TAUGHT``. The documents are the
        same either way.
    """
    test = read_examples(data / kind.folder / "test.jsonl")
    asked = {normalise(row.text) for row in test}
    rows = [row for row in read_examples(data / kind.folder / "train.jsonl") if normalise(row.text) not in asked]
    chance = np.random.default_rng(seed)
    taught: list[Example] = []
    documents: list[Example] = []
    for _, same in sorted(by_label(rows).items()):
        order = [same[i] for i in chance.permutation(len(same))]
        n = round(SHARE_TAUGHT * len(order))
        taught += order[: min(n, n_taught or n)]
        documents += order[n:]
    known = {normalise(row.text) for row in taught}
    documents = [row for row in documents if normalise(row.text) not in known]
    intents = {row.label for row in documents}
    queries = [row for row in test if row.label != kind.out_of_scope and row.label in intents]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "taught.jsonl", [{"text": row.text, "label": kind.category(row.label)} for row in taught])
    named = [(f"d{number}", row) for number, row in enumerate(documents)]
    _write(
        folder / "documents.jsonl",
        [{"id": id, "text": row.text, "category": kind.category(row.label)} for id, row in named],
    )
    of_intent: dict[str, list[str]] = {}
    for id, row in named:
        of_intent.setdefault(row.label, []).append(id)
    # Queries of an intent have the same relevant documents: they are no independent evidence.
    _write(
        folder / "queries.jsonl",
        [
            {"id": f"q{number}", "text": row.text, "category": kind.category(row.label), "group": row.label}
            for number, row in enumerate(queries)
        ],
    )
    pairs = (f"q{number} 0 {id} 1\n" for number, row in enumerate(queries) for id in of_intent[row.label])
    write_text(folder / "pairs.txt", "".join(pairs))


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
