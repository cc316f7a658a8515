"""Tf-idf of n-grams and a linear model, answered with numpy alone: no scikit-learn, which takes a second to import.

scikit-learn trains it (``baselines.linear``); ``Ngrams.of`` takes over what it learned and repeats its arithmetic:
a test compares them. JSON and safetensors on disk.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from labelwright.errors import BundleError
from labelwright.reading import AGAIN, read_object, read_tensors

_FILE = "ngrams.json"
_WEIGHTS = "ngrams.safetensors"
# Texts whose n-grams are held at a time.
_AT_ONCE = 512
# Words from one character and from two characters on; the second is scikit-learn's default.
WORDS = {1: r"(?u)\b\w+\b", 2: r"(?u)\b\w\w+\b"}
_REMEMBERED_HASHES = 1 << 16
# Far beyond what anybody trains, near enough that no text takes for ever.
_LONGEST_NGRAM = 64


class Counting(NamedTuple):
    """From a text to its n-grams, and from an n-gram to its column.

    Attributes
    ----------
    analyzer : {"word", "char_wb"}
        Words, or characters within words and the space around them.
    shortest, longest : int
        Of the n-grams.
    n_features : int
        Columns, where n-grams are hashed; 0 where ``terms`` names them.
    terms : mapping of str to int
    shortest_word : {1, 2}
        Characters that a word has at least.
    """

    analyzer: str
    shortest: int
    longest: int
    n_features: int
    terms: Mapping[str, int]
    shortest_word: int = 2

    def columns(self, text: str) -> Counter[int]:
        """How often each column occurs in a text."""
        text = text.lower()
        if self.analyzer == "word":
            grams = self._of_words(re.findall(WORDS[self.shortest_word], text))
        else:
            grams = self._of_characters(text.split())
        if self.n_features:
            return Counter([hashed(gram) % self.n_features for gram in grams])
        # Most n-grams are unknown: one look-up each, in C.
        return Counter([column for column in map(self.terms.get, grams) if column is not None])

    def _of_words(self, words: list[str]) -> Iterator[str]:
        for n in range(self.shortest, self.longest + 1):
            yield from map(" ".join, zip(*(words[i:] for i in range(n)), strict=False))

    def _of_characters(self, words: list[str]) -> Iterator[str]:
        for word in words:
            padded = f" {word} "
            for n in range(self.shortest, self.longest + 1):
                # A word shorter than n is counted once, whole.
                yield from (padded[i : i + n] for i in range(max(len(padded) - n, 0) + 1))
                if n >= len(padded):
                    break


class Ngrams:
    """One logistic regression a label on unit vectors of tf-idf, (1 + ln count) times idf, normalised over labels.

    Parameters
    ----------
    counting : Counting
    idf : float array (n_features,)
    coef : float32 array (n_features, n_labels)
        Of two labels one column, the second's.
    intercept : float64 array (n_labels,)
    """

    kind: ClassVar[str] = "ngrams"

    def __init__(
        self, counting: Counting, idf: NDArray[Any], coef: NDArray[np.float32], intercept: NDArray[np.float64]
    ) -> None:
        self.counting = counting
        self.idf = idf
        self.coef = coef
        self.intercept = intercept

    @classmethod
    def of(cls, pipeline: Any) -> Ngrams:
        """What a fitted scikit-learn pipeline learned.

        Parameters
        ----------
        pipeline : sklearn.pipeline.Pipeline
            ``TfidfVectorizer``, or ``HashingVectorizer`` and ``TfidfTransformer``, with ``sublinear_tf``, one of
            ``WORDS`` as ``token_pattern`` and otherwise the defaults, then ``SGDClassifier`` with ``log_loss``, fitted
            on texts and label positions.
        """
        vectorizer, linear = pipeline[0], pipeline[-1]
        hashes = not hasattr(vectorizer, "vocabulary_")
        weighting = pipeline[1] if hashes else vectorizer
        assert weighting.sublinear_tf and weighting.norm == "l2" and linear.loss == "log_loss"  # noqa: PT018
        assert not hashes or not (vectorizer.alternate_sign or vectorizer.norm)
        terms = {} if hashes else {str(term): int(column) for term, column in vectorizer.vocabulary_.items()}
        shortest_word = next(n for n, pattern in WORDS.items() if pattern == vectorizer.token_pattern)
        n_features = vectorizer.n_features if hashes else 0
        shortest, longest = vectorizer.ngram_range
        counting = Counting(vectorizer.analyzer, shortest, longest, n_features, terms, shortest_word)
        coef = np.ascontiguousarray(linear.coef_.T, dtype=np.float32)
        return cls(counting, weighting.idf_, coef, np.asarray(linear.intercept_, dtype=np.float64))

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels)."""
        found: list[NDArray[np.float64]] = []
        for start in range(0, len(texts), _AT_ONCE):
            found += self._logits([self.counting.columns(text) for text in texts[start : start + _AT_ONCE]])
        logits = np.array(found).reshape(len(texts), -1)
        with np.errstate(over="ignore"):
            probs: NDArray[np.float64] = 1 / (1 + np.exp(-logits))
        if probs.shape[1] == 1:
            return np.hstack([1 - probs, probs])
        # Where every label is out of the question, all are alike.
        probs[probs.sum(axis=1) == 0] = 1
        return probs / probs.sum(axis=1, keepdims=True)

    def save(self, folder: Path) -> None:
        """Write the weights, and the n-grams in the order of their columns."""
        counting = self.counting
        tensors = {"idf": self.idf, "coef": self.coef, "intercept": self.intercept}
        save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, folder / _WEIGHTS)
        terms = sorted(counting.terms, key=lambda term: counting.terms[term])
        text = json.dumps(counting._asdict() | {"terms": terms}, ensure_ascii=False)
        (folder / _FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Ngrams:
        """Read them. Raises BundleError where they are damaged, or do not fit together."""
        counting = _checked(read_object(folder / _FILE), folder / _FILE)
        weights = read_tensors(folder / _WEIGHTS, {"idf": 1, "coef": 2, "intercept": 1})
        n_features, n_outputs = weights["coef"].shape
        columns = counting.n_features or len(counting.terms)
        if (columns, columns, n_outputs) != (n_features, len(weights["idf"]), len(weights["intercept"])):
            raise BundleError(f"{folder / _WEIGHTS}: its arrays do not fit the {columns} n-grams of {_FILE}; {AGAIN}")
        return cls(counting, **weights)

    def external_bytes(self) -> int:
        """Nothing else is needed."""
        return 0

    def _logits(self, counts: Sequence[Counter[int]]) -> list[NDArray[np.float64]]:
        """(n_labels,) a text, from how often it has each column. Numbers are made for all texts at once."""
        n_columns = sum(map(len, counts))
        columns = np.fromiter(chain.from_iterable(counts), dtype=np.int64, count=n_columns)
        times = np.fromiter(chain.from_iterable(one.values() for one in counts), dtype=np.float64, count=n_columns)
        values = (1 + np.log(times)) * self.idf[columns]
        logits, end = [], 0
        for one in counts:
            start, end = end, end + len(one)
            own = values[start:end]
            # A text without a known n-gram has nothing to normalise, and the intercepts decide.
            length = math.sqrt(own @ own) or 1.0
            logits.append(own / length @ self.coef.take(columns[start:end], axis=0) + self.intercept)
        return logits


def _checked(about: dict[str, Any], path: Path) -> Counting:
    """What ``save`` wrote, if it is of the kind that counts."""
    # Until there was a choice of the shortest word, it was scikit-learn's.
    about = {"shortest_word": 2, **about}
    numbers = [about.get(name) for name in ("shortest", "longest", "n_features", "shortest_word")]
    terms = about.get("terms")
    fits = (
        set(about) == set(Counting._fields)
        and about["analyzer"] in ("word", "char_wb")
        and all(type(one) is int for one in numbers)
        and 1 <= about["shortest"] <= about["longest"] <= _LONGEST_NGRAM
        and about["n_features"] >= 0
        and about["shortest_word"] in WORDS
        and isinstance(terms, list)
        and all(isinstance(term, str) for term in terms)
        and len(set(terms)) == len(terms)
    )
    if not fits:
        raise BundleError(f"{path}: not as a classifier of n-grams writes it; {AGAIN}")
    return Counting(**about | {"terms": {term: column for column, term in enumerate(about["terms"])}})


@lru_cache(maxsize=_REMEMBERED_HASHES)
def hashed(gram: str) -> int:
    """Absolute value of the signed 32-bit MurmurHash3 (Appleby 2011, x86_32, seed 0), by which scikit-learn hashes."""
    data = gram.encode("utf-8", "replace")
    state, whole = 0, len(data) & ~3
    for start in range(0, whole, 4):
        state ^= _mixed(int.from_bytes(data[start : start + 4], "little"))
        state = ((state << 13 | state >> 19) * 5 + 0xE6546B64) & 0xFFFFFFFF
    state ^= _mixed(int.from_bytes(data[whole:], "little")) ^ len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    state = (state ^ state >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    state ^= state >> 16
    return min(state, 0x100000000 - state)


def _mixed(block: int) -> int:
    block = block * 0xCC9E2D51 & 0xFFFFFFFF
    return (block << 15 | block >> 17) * 0x1B873593 & 0xFFFFFFFF
