"""Which rows go together: those behind one prefix, cut into batches of so many tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from labelwright.prompt import Rendered

# Rows whose images are held at once, a few megabytes each.
IMAGE_ROWS = 32


def by_prefix(prompts: Sequence[Rendered]) -> list[list[int]]:
    """Row numbers of prompts that share what stands before the row, an image of several included; few with images."""
    n_rows = Counter((prompt.prefix, prompt.image) for prompt in prompts)
    groups: dict[tuple[tuple[str, str, str], str], list[int]] = {}
    for i, prompt in enumerate(prompts):
        is_shared = n_rows[prompt.prefix, prompt.image] > 1
        groups.setdefault((prompt.prefix, prompt.image if is_shared else ""), []).append(i)
    return [part for group in groups.values() for part in _few(group, bool(prompts[group[0]].image))]


def _few(group: list[int], has_images: bool) -> list[list[int]]:
    if not has_images:
        return [group]
    return [group[start : start + IMAGE_ROWS] for start in range(0, len(group), IMAGE_ROWS)]


def cut(sizes: Sequence[int], limit: Callable[[], int]) -> Iterator[list[int]]:
    """Numbers of consecutive items whose sizes add up to at most the limit as it is then, one item at least."""
    batch: list[int] = []
    total, most = 0, None
    for i, size in enumerate(sizes):
        # It may have to be measured first, and is of no interest to a single item.
        most = limit() if batch and most is None else most
        if most is not None and total + size > most:
            yield batch
            # What was done with them may have shown that less fits.
            batch, total, most = [], 0, None
        batch.append(i)
        total += size
    if batch:
        yield batch


def cut_by_tokens(rows: Sequence[tuple[int, ...]], limit: Callable[[], int], extra: int) -> Iterator[list[int]]:
    """Row numbers by length, cut into groups of at most ``limit`` tokens. Equal lengths waste no padding."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for group in cut([len(rows[i]) + extra for i in order], limit):
        yield [order[i] for i in group]
