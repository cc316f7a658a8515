"""Which models a bundle may name: packaged ones, ids of the hub, and those folders that its reader named.

A bundle comes from anywhere. A path in it could lead to files that came with it, or to any other folder of the reader's
disk, so paths count only if they came in by another way as well: a recipe, a bundle that this process itself saved, or
``LABELWRIGHT_LOCAL_MODELS``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labelwright.errors import BundleError

VARIABLE = "LABELWRIGHT_LOCAL_MODELS"
STATIC = "model2vec:"
PACKAGED = frozenset({"smollm2", "minilm"})
# "owner/name", or as a server calls a model: nothing that begins like a path, climbs, or holds a backslash.
_ID = re.compile(r"[^/\\~\s.][^\\~\s]*")

_named: set[str] = set()


def allow(name: str) -> None:
    """Let bundles that are loaded in this process name a model by this folder. For the user's own words only."""
    _named.add(name)


def allow_folders_in(value: Any) -> None:
    """``allow`` every text in tables and lists, such as a recipe's, that is a folder of this machine."""
    if isinstance(value, str):
        if Path(value.removeprefix(STATIC)).expanduser().is_dir():
            allow(value)
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            allow_folders_in(inner)


def refuse_paths(name: str, where: str) -> None:
    """Raise BundleError where a model's name is, or would be taken for, a path that the user did not name.

    Parameters
    ----------
    name : str
        As it stands in a bundle.
    where : str
        Which file and key it was read from, for the message.
    """
    plain = name.removeprefix(STATIC)
    allowed = _named | {one for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one}
    # A packaged model's name is one only where nothing of that name lies here, and only as it stands.
    if {name, plain} & allowed or (name in PACKAGED and not os.path.lexists(name)):
        return
    if not _ID.fullmatch(plain) or ".." in plain or os.path.lexists(plain):
        here = f", and {Path(plain).absolute()} lies here" if os.path.lexists(plain) else ""
        raise BundleError(
            f"{where}: the model {name!r} is a path{here}; a bundle may only name models by their Hugging Face id. If "
            f"the folder is your own, set {VARIABLE}={plain}"
        )
