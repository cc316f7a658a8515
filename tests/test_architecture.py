"""House rules that a reviewer would otherwise have to watch: who imports whom, who reads the test split, docstrings."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Each package and the packages it may import: workbench -> optimizers, baselines -> programs, rewards -> labelwright.
MAY_IMPORT = {
    "labelwright": {"labelwright"},
    "programs": {"programs", "labelwright"},
    "rewards": {"rewards", "labelwright"},
    "optimizers": {"optimizers", "programs", "rewards", "labelwright"},
    "baselines": {"baselines", "programs", "rewards", "labelwright"},
    "workbench": {"workbench", "optimizers", "baselines", "programs", "rewards", "labelwright"},
}
NEVER_IN_LABELWRIGHT = {"dspy", "gepa", "trl", "mlflow", "datasets"}
# Other doors into pickle, which runs code from the file it reads.
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
HEAVY = {"torch", "transformers", "dspy", "gepa", "trl", "mlflow", "sentence_transformers", "datasets", "sklearn"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


ALL = [path for package in MAY_IMPORT for path in modules(package)]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(node: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported at or below a node."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            yield from (alias.name for alias in inner.names)
        elif isinstance(inner, ast.ImportFrom):
            assert inner.level == 0, "imports are absolute, so that the arrows can be read"
            yield from (f"{inner.module}.{alias.name}" for alias in inner.names)
        elif isinstance(inner, ast.Call) and ast.unparse(inner.func).endswith("import_module"):
            yield from (str(given.value) for given in inner.args[:1] if isinstance(given, ast.Constant))


def top(dotted: str) -> str:
    return dotted.split(".")[0]


def test_there_is_something_to_check():
    assert len(ALL) > 10
    assert all(modules(package) for package in MAY_IMPORT)


@pytest.mark.parametrize("path", ALL, ids=name)
def test_arrows_point_one_way(path):
    allowed = MAY_IMPORT[path.relative_to(ROOT).parts[0]]
    found = {top(dotted) for dotted in imports(tree(path))}
    assert found & set(MAY_IMPORT) <= allowed
    assert not found & {"tests", "fakes", "bench"}


@pytest.mark.parametrize("path", modules("labelwright"), ids=name)
def test_what_ships_never_imports_what_tunes(path):
    assert not {top(dotted) for dotted in imports(tree(path))} & NEVER_IN_LABELWRIGHT


@pytest.mark.parametrize("path", ALL, ids=name)
def test_only_tracking_imports_mlflow(path):
    uses = any(top(dotted) == "mlflow" for dotted in imports(tree(path)))
    assert not uses or (path.parent.relative_to(ROOT).as_posix() == "workbench/tracking")


@pytest.mark.parametrize("path", ALL, ids=name)
def test_nothing_is_pickled(path):
    assert not {top(dotted) for dotted in imports(tree(path))} & PICKLES
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            loads_torch = isinstance(node.func.value, ast.Name) and node.func.value.id == "torch"
            assert not (loads_torch and node.func.attr in ("load", "save")), f"line {node.lineno}: torch pickles"


def reads_of_test(node: ast.AST) -> list[int]:
    """Lines that read ``.test`` of something called splits. Shares and metrics may have a test as well."""
    return [
        inner.lineno
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute)
        and inner.attr == "test"
        and isinstance(inner.ctx, ast.Load)
        and "split" in ast.unparse(inner.value).lower()
    ]


def test_only_one_function_reads_the_test_split():
    readers = {name(path) for path in ALL if reads_of_test(tree(path))}
    assert readers == {"workbench/compare/score.py"}
    functions = [node for node in tree(ROOT / "workbench" / "compare" / "score.py").body if reads_of_test(node)]
    assert len(functions) == 1
    assert isinstance(functions[0], ast.FunctionDef)


def test_a_read_of_the_test_split_would_be_noticed():
    assert reads_of_test(ast.parse("n = len(session.splits.test)")) == [1]
    assert not reads_of_test(ast.parse("splits = Splits(test=()); share = shares.test"))


def public_functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Module-level functions and classes, and the methods of those classes, whose names have no underscore."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                members = (member for member in node.body if isinstance(member, ast.FunctionDef))
                yield from (member for member in members if not member.name.startswith("_"))


@pytest.mark.parametrize("path", ALL, ids=name)
def test_public_things_say_what_they_are(path):
    module = tree(path)
    if module.body:
        assert ast.get_docstring(module), "the module has no docstring"
    missing = [f"{node.name} (line {node.lineno})" for node in public_functions(module) if not ast.get_docstring(node)]
    assert not missing


@pytest.mark.parametrize("package", sorted(set(MAY_IMPORT) - {"labelwright"}))
def test_names_of_packages_do_not_hide_a_library(package):
    assert package not in sys.stdlib_module_names


LIGHT = ["labelwright/cli.py", "labelwright/data/task.py", "labelwright/prompt.py", "labelwright/engines/protocol.py"]
LIGHT += ["labelwright/bundle/store.py", "workbench/recipe/recipe.py", "workbench/__main__.py"]


@pytest.mark.parametrize("relative", LIGHT)
def test_what_answers_at_once_imports_nothing_heavy_on_the_way(relative):
    """Follows module-level imports through the house: help and recipe errors must not wait for torch."""
    seen, waiting = set(), [ROOT / relative]
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        for dotted in module_level_imports(tree(path)):
            assert top(dotted) not in HEAVY, f"{name(path)} imports {dotted}"
            if top(dotted) in MAY_IMPORT:
                parts = dotted.split(".")
                waiting += [ROOT.joinpath(*parts[:n]).with_suffix(".py") for n in range(2, len(parts) + 1)]
                waiting += [ROOT.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1)]


def module_level_imports(module: ast.Module) -> Iterator[str]:
    """What importing the module imports: neither what functions import nor what only type checkers read."""
    for node in module.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)
        elif isinstance(node, ast.Try):
            for inner in node.body:
                yield from imports(inner)
