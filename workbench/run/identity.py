"""What makes a result stale: hashes of the code that made it, of library versions, of models' files, of settings.

Steps and results are kept under such hashes, so that whatever changed is done again and nothing else is. Code counts as
what it does: every module of the house that the work can import, as a syntax tree without comments and docstrings.
Which modules those are is read from the imports themselves; nobody keeps a list.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import json
import os
import re
import site
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from labelwright.files import read_json, sha256_of_file, short_hash, write_json
from labelwright.models.packaged import cache_dir

ROOT = Path(__file__).resolve().parents[2]
# Settings that name a model by folder or id, and those that name a file.
_MODEL_SETTINGS = ("model", "encoder")
_FILE_SETTINGS = ("preferences",)
_VARIABLE = "LABELWRIGHT_IDENTITY"
# Hashes of larger files are kept, for models weigh gigabytes.
_LARGE_BYTES = 1 << 20
# What this process found, for the processes that work for it.
_KNOWN: dict[str, dict[str, str]] = {"code": {}, "content": {}}


def code_version(entries: tuple[str, ...]) -> str:
    """A hash of the modules ``entries``, of all that they import of the house, and of the libraries under those.

    Imports inside functions count, those for type checkers do not. A process that works for another takes that one's
    word for it (``handed_down``): code that is edited while a comparison runs is the next comparison's.
    """
    name = " ".join(entries)
    if name in _told("code"):
        return _told("code")[name]
    seen: dict[str, str] = {}
    libraries: set[str] = set()
    waiting = [one for entry in entries for one in _with_parents(entry)]
    looked_at: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in looked_at:
            continue
        looked_at.add(module)
        path = _path_of(module)
        if path is None:
            continue
        about = path.stat()
        code = _read(path, about.st_mtime_ns, about.st_size)
        seen[module] = code.digest
        libraries |= code.libraries
        waiting += [one for dotted in code.house for one in _with_parents(dotted)]
    return _remember("code", name, short_hash([sorted(seen.items()), sorted(_versions(libraries))]))


def content_of(model: str, fetch: bool = True) -> str:
    """A hash of a model's files: of a folder its contents, of a hub's id the commit that is here.

    Empty for what arrives as a package, whose hash is in the code that fetches it, and for what is not known.

    Parameters
    ----------
    fetch : bool
        Ask the hub for an id that was never fetched, so that its first use does not change what it is called.
    """
    if model in _told("content"):
        return _told("content")[model]
    name = model.rpartition(":")[2]
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _remember("content", model, _folder_content(folder))
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith((".", "/")):
        return ""
    # One commit for as long as this process lives.
    if model in _KNOWN["content"]:
        return _KNOWN["content"][model]
    return _remember("content", model, _commit_of(name, fetch))


def settings_content(settings: Mapping[str, Any]) -> list[str]:
    """``content_of`` of the models that a stage's or an estimator's settings name, and hashes of files."""
    named = [settings.get(key) for key in _MODEL_SETTINGS]
    files = [Path(name) for key in _FILE_SETTINGS if isinstance(name := settings.get(key), str) and name]
    return [
        *(content_of(name) for name in named if isinstance(name, str) and name),
        *(sha256_of_file(path) for path in files if path.is_file()),
    ]


def handed_down() -> dict[str, str]:
    """Environment variables that give a child process this one's versions, as far as it knows them."""
    return {_VARIABLE: json.dumps(_KNOWN)}


@functools.cache
def environment() -> str:
    """A hash of all installed distributions and their versions.

    Of where packages are installed, whatever else is on the path by now: Ray puts copies of its own there when it is
    imported, and a process of it the folder that it runs in.
    """
    places = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    found = importlib.metadata.distributions(path=places)
    return short_hash(sorted({f"{one.name}=={one.version}" for one in found}))


class _Code(NamedTuple):
    """A module as far as it counts: a hash of what it does, and what it imports."""

    digest: str
    house: frozenset[str]
    libraries: frozenset[str]


@functools.cache
def _read(path: Path, modified_ns: int, n_bytes: int) -> _Code:
    tree = ast.parse(path.read_bytes(), str(path))
    house: set[str] = set()
    libraries: set[str] = set()
    for dotted in _imports(tree):
        top = dotted.split(".")[0]
        if _path_of(top):
            house.add(dotted)
        elif top not in sys.stdlib_module_names:
            libraries.add(top)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _is_told(node):
            node.body = node.body[1:]
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return _Code(digest, frozenset(house), frozenset(libraries))


def _is_told(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return ast.get_docstring(node, clean=False) is not None


def _imports(node: ast.AST) -> Iterator[str]:
    """Dotted names of what is imported at or below a node, but not for type checkers alone."""
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        for other in node.orelse:
            yield from _imports(other)
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        # What is imported may be a module or a name in one; a name leads nowhere.
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for inner in ast.iter_child_nodes(node):
        yield from _imports(inner)


def _with_parents(dotted: str) -> list[str]:
    """Importing a.b runs a first."""
    parts = dotted.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _path_of(module: str) -> Path | None:
    """The file of a module of the house, where there is one."""
    # Asked tens of thousands of times in a comparison, of which Path would make seconds.
    below = os.path.join(ROOT, *module.split("."))
    return next((Path(path) for path in (f"{below}.py", f"{below}/__init__.py") if os.path.isfile(path)), None)


def _versions(libraries: Iterable[str]) -> list[str]:
    """Imported packages' distributions with their versions, and those that they require: scikit-learn's SciPy."""
    found = {name for library in libraries for name in _distributions().get(library, ())}
    required = {name for one in found for name in _required(one)}
    return [f"{name}=={_version(name) or 'none'}" for name in sorted({*found, *required, *libraries})]


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


@functools.cache
def _required(distribution: str) -> list[str]:
    """Names of what a distribution always needs, not of its extras."""
    lines = [line for line in importlib.metadata.requires(distribution) or () if "extra ==" not in line]
    return [match[0].lower().replace("_", "-") for line in lines if (match := re.match(r"[\w.-]+", line))]


@functools.cache
def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _folder_content(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return short_hash([[path.relative_to(folder).as_posix(), _file_hash(path)] for path in files])


def _file_hash(path: Path) -> str:
    """SHA-256 of a file; of a large one it is kept, by what changes whenever the file does."""
    about = path.stat()
    stamp = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]
    kept = cache_dir() / "file-hashes" / f"{short_hash(str(path.absolute()))}.json"
    if about.st_size >= _LARGE_BYTES:
        try:
            known = read_json(kept)
            if known["stamp"] == stamp:
                return str(known["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
    found = sha256_of_file(path)
    if about.st_size >= _LARGE_BYTES:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_json(kept, {"stamp": stamp, "sha256": found})
        except OSError:
            pass  # It is only hashed again.
    return found


def _commit_of(repository: str, fetch: bool) -> str:
    """The commit of a hub's repository that is in the cache; empty where none is and none can be had."""
    try:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        found = try_to_load_from_cache(repository, "config.json")
        if not isinstance(found, str) and fetch:
            found = hf_hub_download(repository, "config.json")
    except Exception:  # offline, no such id, refused: whoever opens the model says so
        return ""
    return Path(found).parent.name if isinstance(found, str) else ""


def _remember(what: str, name: str, value: str) -> str:
    _KNOWN[what][name] = value
    return value


def _told(what: str) -> dict[str, str]:
    """What the process that this one works for found."""
    given = os.environ.get(_VARIABLE)
    return json.loads(given)[what] if given else {}
