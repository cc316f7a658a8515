"""Which languages texts are in, as far as a recipe has to know it: py3langid's answer over a sample.

One short text is often taken for a neighbouring language; of many, only languages with a share that chance does not
explain count.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

_SAMPLE = 300
# A language that fewer texts are taken for is more likely a mistake than a language.
_LEAST_SHARE = 0.15


def languages(texts: Sequence[str]) -> dict[str, float]:
    """ISO 639-1 codes by share of the texts, largest first; those below 15 % are left out."""
    from py3langid.langid import classify

    drawn = random.Random(0).sample(list(texts), min(_SAMPLE, len(texts)))
    found = Counter(classify(text)[0] for text in drawn)
    # All texts together are long enough to be sure of; short ones alone are not.
    together = classify("\n".join(drawn))[0] if drawn else ""
    shares = {code: n / len(drawn) for code, n in found.most_common() if n / len(drawn) >= _LEAST_SHARE}
    if together and together not in shares:
        shares = {together: found[together] / len(drawn), **shares}
    return shares


def is_english(shares: Mapping[str, float]) -> bool:
    """Whether nothing else than English was found worth a word."""
    return list(shares) == ["en"]
