"""The reference of a bundle: its answers on dev, counted. Called where a bundle is exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labelwright.bundle.reference import MOST_CENTRES, Reference
from labelwright.bundle.store import members_of
from labelwright.bundle.types import Bundle
from labelwright.data.asked.asking import asking
from labelwright.data.task import Example, group_keys
from labelwright.decisions.answered import answer
from labelwright.engines.protocol import Engine
from labelwright.errors import DataError
from labelwright.labelling import score_rows
from labelwright.models.weights import Predictor
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.predictors.store import encoder_name
from labelwright.statistics.metrics import Floats
from labelwright.watch.answers import Answer
from labelwright.watch.sketch import Embed, Sketch, centres_of, known_words

# Train rows whose embeddings the centres are means of, evenly spread: an encoder takes its time.
_EMBEDDED_ROWS = 1000


def encoder_of(bundle: Bundle) -> Embed | None:
    """What embeds texts for a bundle: the first encoder that reads them there; None where there is none."""
    parts = [bundle.weights, *(member.weights for member in members_of(bundle.weights))]
    names = [encoder_name(weights.folder) for weights in parts if isinstance(weights, Predictor)]
    found = next(filter(None, names), None)
    return open_encoder(found).embed if found is not None and asking(bundle.task).text_is_asked else None


def make_reference(
    bundle: Bundle,
    engine: Engine,
    train: Sequence[Example],
    dev: Sequence[Example],
    n_rows: int,
    encoder: Callable[[Bundle], Embed | None] = encoder_of,
    known_probs: Floats | None = None,
) -> Reference:
    """Count a bundle's answers on dev.

    Words and centres are of train rows, so that dev rows are to them what later rows are. One row of each group of dev
    is taken, since rows that say the same would make chance look smaller than it is. Where rows bring their own
    choices, texts are not looked at: here they hold the choices, and in a file of answers they do not.

    Parameters
    ----------
    engine : Engine
        Opened on the bundle's weights.
    n_rows : int
        Dev rows that are asked at most.
    encoder : callable
        From a bundle to what embeds texts for it.
    known_probs : ndarray of shape (n_dev, n_labels), optional
        What the bundle answers to ``dev``, where it was asked already.
    """
    kind = asking(bundle.task)
    words = zip([row.text for row in train], group_keys(train), strict=True)
    known = known_words(words if kind.text_is_asked else [])
    embed, centres = encoder(bundle) if train else None, None
    if embed is not None:
        some = train[:: -(-len(train) // _EMBEDDED_ROWS)]
        found = centres_of(
            embed([row.text for row in some]), [row.label for row in some], group_keys(some), MOST_CENTRES
        )
        centres = found if len(found) else None
    one_each = list(dict(zip(group_keys(dev), range(len(dev)), strict=True)).values())
    n_asked = min(n_rows, len(one_each))
    # Evenly spread: files are often in an order, of labels or of time.
    places = [one_each[i * len(one_each) // n_asked] for i in range(n_asked)]
    asked = [dev[i] for i in places]
    answers = []
    scored: Sequence[Floats | DataError] = (
        score_rows(bundle, engine, [row.text for row in asked]) if known_probs is None else list(known_probs[places])
    )
    for number, (row, probs) in enumerate(zip(asked, scored, strict=True), start=1):
        said = {"label": None} if isinstance(probs, DataError) else answer(bundle, probs)
        text = row.text if kind.text_is_asked else None
        label = said.get("suggested", said["label"])
        answers.append(Answer(number, label, said.get("confidence"), text, row.label))
    counts = Sketch(kind.watched, known, centres, embed).counts(answers)
    return Reference(counts, sum(one.label == one.gold for one in answers), known, centres)
