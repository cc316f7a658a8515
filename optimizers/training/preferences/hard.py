"""Hard rows: those of which another label is nearly as plausible as the gold one, or more so, and which label that is.

Nobody can say by itself what is plausible. A model that has learnt the train rows is sure of them all; so besides it
two others are asked. ``words``: a linear classifier on characters, which answers every row from the other folds' rows
only. ``confusions``: how probable each label is on average for rows of one gold label, in the eyes of those two; it
finds the pairs of labels that are mixed up, and doubts all rows of theirs. A row is hard where one of them doubts it.

Who can say nothing of a row doubts nothing: such a line of an opinion is NaN, which is within no margin and no mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from labelwright.data.task import Example, group_keys
from labelwright.statistics.calibration import fit_calibration, group_folds
from labelwright.statistics.metrics import Floats, Ints

Opinion = Literal["model", "words", "confusions"]
# Of a train row, by numbers: the row, the label to be taken, the label to be left.
Pair = tuple[int, int, int]

FOLDS = 5
# Stands for a probability of 0 in one fold's answers, and for its logarithm among opinions.
_LEAST = 1e-9
_NEVER = -1e4


class Hard(NamedTuple):
    """What was found.

    Attributes
    ----------
    pairs : list of Pair
        By row; of one row, the most plausible rejected label first.
    n_doubted : mapping of opinion to int
        Rows that it doubts; who can say nothing of any row is left out.
    """

    pairs: list[Pair]
    n_doubted: dict[str, int]


def hard_pairs(gold: Ints, opinions: Mapping[str, Floats], margin: float, most: int) -> Hard:
    """Gold over each label whose log-probability comes within ``margin`` of gold's in some opinion.

    Parameters
    ----------
    gold : int array (n_rows,)
    opinions : mapping of name to float array (n_rows, n_labels)
        Log-probabilities; NaN in a line is no opinion of that row.
    margin : float
        In nats: at ln 2 a label is plausible from half of gold's probability on.
    most : int
        Pairs of one row at most.

    Examples
    --------
    >>> found = hard_pairs(np.array([0, 1]), {"model": np.log([[0.5, 0.4, 0.1], [0.1, 0.8, 0.1]])}, 0.7, 2)
    >>> found.pairs, found.n_doubted
    ([(0, 0, 1)], {'model': 1})
    """
    opinions = {name: said for name, said in opinions.items() if not np.isnan(said).all()}
    if not opinions:
        return Hard([], {})
    lines = np.arange(len(gold))
    behind = {name: said[lines, gold][:, None] - said for name, said in opinions.items()}  # (n_rows, n_labels) each
    for one in behind.values():
        one[lines, gold] = np.inf
    nearest = np.fmin.reduce(list(behind.values()))
    pairs = [
        (row, int(gold[row]), int(label))
        for row in lines.tolist()
        for label in np.argsort(nearest[row], kind="stable")[:most]
        if nearest[row, label] <= margin
    ]
    return Hard(pairs, {name: int((one <= margin).any(axis=1).sum()) for name, one in behind.items()})


def words_opinion(rows: Sequence[Example], gold: Ints, n_labels: int, seed: int) -> Floats:
    """Log-probabilities (n_rows, n_labels) by a linear classifier on characters, each row's from other folds' rows.

    Groups are whole in a fold, and one temperature is fitted on all answers, so that they mean what they say. A row of
    which the other folds teach nothing, having fewer than two labels or not the row's own, has NaN; so has every row
    where all are one group.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline

    found = np.full((len(rows), n_labels), np.nan)
    groups = group_keys(rows)
    if len(set(groups)) < 2:
        return found
    texts = np.array([row.text for row in rows], dtype=object)
    fold = group_folds(gold, groups, FOLDS, seed)
    for number in np.unique(fold):
        held, taught = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        known = np.unique(gold[taught])
        if len(known) < 2:
            continue
        # As the baseline sgd-chars, whose strength of penalty it has.
        characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        classifier = SGDClassifier(loss="log_loss", alpha=1e-5, random_state=seed)
        probs = make_pipeline(characters, classifier).fit(texts[taught], gold[taught]).predict_proba(texts[held])
        # A label that the other folds lack is impossible, which tells the temperature nothing.
        found[held] = -np.inf
        found[np.ix_(held, known)] = np.log(np.maximum(probs, _LEAST))
        # Where it is gold, that no other answer was seen to be right says nothing of the row.
        found[held[~np.isin(gold[held], known)]] = np.nan
    if (told := ~np.isnan(found[:, 0])).any():
        found[told] = log_softmax(fit_calibration(found[told], gold[told], bias=False).logits(found[told]))
    return found


def confusions_opinion(gold: Ints, opinions: Sequence[Floats]) -> Floats:
    """Log-probabilities (n_rows, n_labels) that say of every row what the opinions say of its gold label's rows."""
    of_label = {}
    for label in np.unique(gold).tolist():
        said = np.exp(np.concatenate([one[gold == label] for one in opinions]))
        told = said[~np.isnan(said[:, 0])]
        of_label[label] = told.mean(axis=0) if len(told) else np.full(said.shape[1], np.nan)
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(np.stack([of_label[label] for label in gold.tolist()])), _NEVER)


def log_softmax(scores: Floats) -> Floats:
    """Log-probabilities of scores, (n_rows, n_labels) both; what is impossible gets a number that is low enough."""
    highest = scores.max(axis=1, keepdims=True)
    return np.maximum(scores - highest - np.log(np.exp(scores - highest).sum(axis=1, keepdims=True)), _NEVER)
