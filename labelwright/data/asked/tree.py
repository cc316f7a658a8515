"""Labels that are paths of a tree: "billing > refund > late" is a leaf under "billing > refund", under "billing".

A label stays one label of a list, scored as it is; the tree is read off the names. Who measures, abstains upwards or
learns node by node asks it here which label lies under which node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

Path = tuple[str, ...]


@dataclass(frozen=True)
class Tree:
    """The paths of labels, in the labels' order.

    Attributes
    ----------
    separator : str
        Between the parts of a name.
    paths : tuple of tuple of str
    """

    separator: str
    paths: tuple[Path, ...]

    @classmethod
    def of(cls, names: Sequence[str], separator: str) -> Tree:
        """The tree of label names.

        >>> Tree.of(["billing > refund", "billing > invoice", "other"], " > ").depth
        2
        """
        return cls(separator, tuple(path_of(name, separator) for name in names))

    @property
    def depth(self) -> int:
        """Parts of the longest path."""
        return max(map(len, self.paths))

    def nodes(self, depth: int) -> list[Path]:
        """The nodes at a depth, from 1, in the order of the labels; a label that ends above it stands for itself."""
        return list(dict.fromkeys(path[:depth] for path in self.paths))

    @cached_property
    def at(self) -> tuple[tuple[int, ...], ...]:
        """From depth 1 on, for each label the position among ``nodes`` of the one that it lies under."""
        found = []
        for depth in range(1, self.depth + 1):
            place = {node: k for k, node in enumerate(self.nodes(depth))}
            found.append(tuple(place[path[:depth]] for path in self.paths))
        return tuple(found)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The parts of each path."""
        return tuple(map(len, self.paths))

    def name(self, node: Path) -> str:
        """A node as labels are written."""
        return self.separator.join(node)


def path_of(name: str, separator: str) -> Path:
    """The parts of a label's name; a separator that is empty parts nothing."""
    return tuple(part.strip() for part in name.split(separator)) if separator else (name,)


def tree_faults(names: Sequence[str], separator: str) -> list[str]:
    """What keeps names from being the leaves of a tree; none where they are.

    >>> tree_faults(["billing", "billing > late"], " > ")
    ["'billing' is a label, and so is 'billing > late' below it: name what is left over, such as 'billing > other'"]
    """
    if not separator.strip():
        return [f"tree = {separator!r}: expected what stands between the parts of a label, such as ' > '"]
    return list(_faults(names, separator))


def _faults(names: Sequence[str], separator: str) -> Iterator[str]:
    if not any(separator in name for name in names):
        yield f"tree = {separator!r}: no label has it in its name; name labels as paths, or leave tree out"
        return
    paths = {name: path_of(name, separator) for name in names}
    for name, path in paths.items():
        if not all(path):
            yield f"the label {name!r} has an empty part, so a level is skipped: name it, or take a separator out"
        elif any(separator.strip() in part for part in path):
            yield f"the label {name!r} has {separator.strip()!r} in a part: write the separator as {separator!r}"
    for path, n in Counter(paths.values()).items():
        if n > 1:
            same = " and ".join(repr(name) for name, own in paths.items() if own == path)
            yield f"{same} are one path: keep one"
    for path in dict.fromkeys(paths.values()):
        if below := next(
            (name for name, own in paths.items() if len(own) > len(path) and own[: len(path)] == path), ""
        ):
            inner = separator.join(path)
            yield (
                f"{inner!r} is a label, and so is {below!r} below it: name what is left over, such as "
                f"{inner + separator + 'other'!r}"
            )
