"""Texts as text-embeddings-inference takes them for classification, and its list of labels with scores.

Its ``inputs`` are one text, a text in a list, or a batch of lists of one text each. A list of two texts is one pair to
it, which no classifier of single texts can answer. ``labelwright.serve.wires.inference`` makes routes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labelwright.data.records import Fault, refusal, text_of
from labelwright.errors import DataError
from labelwright.serve.wires.logarithm import log_probability

SOURCE = "inputs"
_EXPECTED = 'expected a text, or a batch as [["first text"], ["second text"]]'


def read_inputs(inputs: Any) -> tuple[list[str], bool]:
    """The texts, and whether they came as a batch.

    Raises
    ------
    DataError
        Pairs, texts that are empty, anything else.

    Examples
    --------
    >>> read_inputs("a"), read_inputs(["a"]), read_inputs([["a"], ["b"]])
    ((['a'], False), (['a'], False), (['a', 'b'], True))
    """
    is_batch = isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], list)
    sequences = inputs if is_batch else [inputs]
    texts, faults = [], []
    for number, sequence in enumerate(sequences, start=1):
        try:
            texts.append(_text(sequence))
        except DataError as error:
            faults.append(Fault(number, str(error)))
    if faults:
        raise refusal(SOURCE, faults) if is_batch else DataError(f"inputs: {faults[0].reason}")
    return texts, is_batch


def predictions(names: Sequence[str], probs: Sequence[float], raw_scores: bool = False) -> list[dict[str, Any]]:
    """Labels with their scores, the likeliest first.

    Parameters
    ----------
    names : sequence of str
    probs : sequence of float, one a label
    raw_scores : bool
        Scores before the softmax: here the logarithms of the probabilities, whose softmax they are.
    """
    scores = [log_probability(share) if raw_scores else share for share in probs]
    # Sorted upwards and turned round, as it is done there: of equal labels the last comes first.
    order = sorted(range(len(names)), key=lambda place: scores[place])[::-1]
    return [{"score": scores[place], "label": names[place]} for place in order]


def _text(sequence: Any) -> str:
    if isinstance(sequence, list) and len(sequence) == 2:
        raise DataError(f"a pair of texts, which this model cannot read together: {_EXPECTED}")
    one = sequence[0] if isinstance(sequence, list) and len(sequence) == 1 else sequence
    if not isinstance(one, str):
        raise DataError(f"{type(one).__name__} is no text: {_EXPECTED}")
    return text_of({"inputs": one}, "inputs", "text")
