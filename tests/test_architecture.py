"""House rules that a reviewer would otherwise have to watch: who imports whom, who reads the test split, docstrings."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
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


ROOMS = (*MAY_IMPORT, "bench")
ALL = [path for package in MAY_IMPORT for path in modules(package)]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
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
    assert not uses or path.is_relative_to(ROOT / "workbench" / "tracking")


@pytest.mark.parametrize("path", ALL, ids=name)
def test_only_the_server_imports_what_serves(path):
    uses = {"fastapi", "starlette", "uvicorn", "prometheus_client"} & {top(dotted) for dotted in imports(tree(path))}
    assert not uses or path.is_relative_to(ROOT / "labelwright" / "serve")


@pytest.mark.parametrize("path", modules("labelwright"), ids=name)
def test_what_ships_imports_ray_in_one_file(path):
    uses = "ray" in {top(dotted) for dotted in imports(tree(path))}
    assert uses == (name(path) == "labelwright/bulk/on_ray.py")


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


# --- circles ---------------------------------------------------------------------------------------------------------

WITH_BENCH = [*ALL, *modules("bench")]


def dotted(path: Path) -> str:
    """The module in a file, as it is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {dotted(path): path for path in WITH_BENCH}


def house_module(imported: str) -> str:
    """The module of the house that an imported name is or is part of; empty for a library's."""
    while imported and imported not in MODULES:
        imported = imported.rpartition(".")[0]
    return imported


def imports_of(module: str) -> set[str]:
    """Modules of the house that one imports anywhere: at its top, in functions, for type checkers."""
    return {house_module(one) for one in imports(tree(MODULES[module]))} - {"", module}


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Groups in which every module reaches every other; none where all arrows point one way."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            waiting += (new := arrows.get(waiting.pop(), set()) - seen)
            seen |= new
        return seen

    from_each = {module: reached(module) for module in arrows}
    groups = [{other for other in from_each[one] if one in from_each.get(other, ())} for one in arrows]
    return [group for number, group in enumerate(groups) if group and group not in groups[:number]]


FOUND_CIRCLES = circles({module: imports_of(module) for module in MODULES})


def test_a_circle_would_be_noticed():
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [{"b", "c"}]


def test_no_file_imports_itself_by_way_of_others():
    """Imports in functions and for type checkers count."""
    assert [sorted(group) for group in FOUND_CIRCLES] == []


# --- imports inside functions ----------------------------------------------------------------------------------------

# Libraries that a function may import, since whoever does not need them should not wait for them or have them.
LATE = {
    "numpy": "a third of a second, which help and a wrong recipe need not wait for",
    "safetensors": "brings numpy",
    "tokenizers": "brings huggingface_hub",
    "torch": "seconds",
    "transformers": "seconds",
    "peft": "seconds",
    "trl": "seconds",
    "datasets": "seconds; only for rows from a hub",
    "dspy": "seconds",
    "gepa": "seconds, with what it brings",
    "mlflow": "seconds",
    "ray": "an extra, and seconds",
    "optuna": "half a second, where settings are searched",
    "alembic": "comes with mlflow, where a store is made",
    "pandas": "a second; only where a notebook shows a table",
    "psutil": "comes with mlflow, where a machine is watched",
    "sklearn": "a second",
    "skops": "seconds",
    "cleanlab": "brings sklearn",
    "py3langid": "brings numpy and unpacks its model",
    "matplotlib": "a second; only where pictures are drawn",
    "rich": "as long as Python itself, which help need not wait for",
    "jinja2": "only where a page is written",
    "sentence_transformers": "seconds, and an extra",
    "huggingface_hub": "only where files are fetched",
    "pyarrow": "an extra: rows from Parquet",
    "python_calamine": "an extra: rows from workbooks",
    "fsspec": "comes with an extra: URLs that pyarrow does not open",
    "PIL": "an extra: images",
    "rapidocr": "an extra: what is written in them",
    "jsonschema": "an extra: typed answers",
    "referencing": "comes with jsonschema",
    "llguidance": "an extra: free fields",
    "gliclass": "an extra",
    "setfit": "an extra",
    "model2vec": "an extra",
    "openai": "an extra",
    "fastapi": "an extra: the server",
    "uvicorn": "an extra: the server",
    "vllm": "of a GPU, beside what is installed here",
    "xllamacpp": "an extra",
    "gguf": "an extra",
    "onnxruntime": "an extra",
    "fcntl": "not on Windows",
    "resource": "not on Windows",
}


def function_imports(node: ast.AST, in_function: bool = False) -> Iterator[str]:
    """Dotted names of everything that functions below a node import, registries aside."""
    for inner in ast.iter_child_nodes(node):
        within = in_function or isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(inner, ast.Import) and within:
            yield from (alias.name for alias in inner.names)
        elif isinstance(inner, ast.ImportFrom) and within:
            yield from (f"{inner.module}.{alias.name}" for alias in inner.names)
        yield from function_imports(inner, within)


@cache
def libraries_of(module: str) -> frozenset[str]:
    """Libraries that come with a module: those that it, and what it imports at its top, imports at the top."""
    seen: set[str] = set()
    waiting, found = [module], set()
    while waiting:
        if (one := waiting.pop()) in seen:
            continue
        seen.add(one)
        for imported in module_level_imports(tree(MODULES[one])):
            if top(imported) in ROOMS:
                waiting += [house] if (house := house_module(imported)) else []
            else:
                found.add(top(imported))
    return frozenset(found)


def late_for_nothing(path: Path) -> set[str]:
    """What a file's functions import that its top could import as well."""
    found = set()
    for imported in function_imports(tree(path)):
        if top(imported) not in ROOMS:
            found |= set() if top(imported) in LATE else {imported}
        elif not (libraries_of(house_module(imported)) - libraries_of(dotted(path))) & set(LATE):
            found.add(house_module(imported))
    return found


def test_an_import_in_a_function_would_be_noticed():
    module = ast.parse(
        "import a\ndef f():\n    from b.c import d\n    def g():\n        import e\nclass C:\n    import h\n"
    )
    assert list(function_imports(module)) == ["b.c.d", "e"]
    assert {"numpy"} <= libraries_of("labelwright.statistics.metrics")


@pytest.mark.parametrize("path", WITH_BENCH, ids=name)
def test_functions_import_what_is_heavy_or_optional_and_nothing_else(path):
    assert late_for_nothing(path) == set()


# --- folders ---------------------------------------------------------------------------------------------------------

MOST_FILES = 12
FOLDERS = sorted(
    path
    for top_folder in (*ROOMS, "docs", "servers", "data")
    for path in (ROOT / top_folder, *(ROOT / top_folder).rglob("*"))
    if path.is_dir() and path.name != "__pycache__"
)


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_a_folder_can_be_taken_in_at_a_glance(folder):
    """Every file beside the others counts, whatever it is (``__init__.py``, templates, results); folders do not."""
    files = [path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    assert len(files) <= MOST_FILES, f"{len(files)} files beside each other"


@pytest.mark.parametrize("folder", [one for one in FOLDERS if any(one.glob("*.py"))], ids=name)
def test_a_room_says_what_it_owns_who_calls_it_and_what_it_never_does(folder):
    docstring = ast.get_docstring(tree(folder / "__init__.py")) or ""
    assert 3 <= len(docstring.splitlines()) <= 8


# --- tests -----------------------------------------------------------------------------------------------------------

# Test files that are about no single module, by what they are about. The others lie where their module does, or are
# named after a room.
OF_SEVERAL_MODULES = {
    "tests/baselines/test_contract.py": "what every baseline must do",
    "tests/labelwright/bundle/test_bundle_predictor.py": "bundles without a language model",
    "tests/labelwright/bundle/test_damaged_bundles.py": "files that a disk damaged or a stranger wrote",
    "tests/labelwright/bundle/test_no_code_runs.py": "a bundle is data",
    "tests/labelwright/engines/packed/test_on_cuda.py": "a real device, from passes to their memory",
    "tests/labelwright/engines/test_architectures.py": "transformers' causal architectures",
    "tests/labelwright/engines/test_conformance.py": "all engines and one reference",
    "tests/labelwright/pictures/test_everywhere.py": "rows with images, whoever reads rows",
    "tests/labelwright/pictures/test_screenshots.py": "a browser's pages, from pixels to JSON",
    "tests/labelwright/serve/test_under_load.py": "a server, many clients, bad and broken requests among theirs",
    "tests/optimizers/training/test_devices.py": "float64 and memory, which a device may lack",
    "tests/optimizers/training/test_pipelines.py": "stages that train, one after another",
    "tests/optimizers/training/test_rows_with_images.py": "rows with images, from the trainer to frozen layers",
    "tests/workbench/compare/test_many_labels.py": "memory with many labels",
    "tests/workbench/compare/test_ranked_by_cost.py": "prices, from the statistics to every face",
    "tests/workbench/run/test_staleness.py": "when work is done again",
    "tests/workbench/test_asked_once.py": "what a demo asks its engines",
    "tests/workbench/test_cut_off.py": "kills before every renaming",
    "tests/workbench/test_dashboard.py": "MLflow's own UI",
    "tests/workbench/test_launched.py": "a training as launchers start it",
    "tests/workbench/test_questions.py": "every kind of question through the whole chain",
    "tests/workbench/test_rows_with_images.py": "a run over rows with images, and what its bundle answers",
    "tests/workbench/test_same_numbers.py": "a whole small run, before and after",
    "tests/workbench/test_what_is_measured_ships.py": "one calibration a candidate",
    "tests/workbench/test_who_sees_which_rows.py": "the four sides",
    "tests/workbench/tracking/test_tracking_failures.py": "stores that fail",
}
TEST_FILES = sorted(path for room in ROOMS for path in (ROOT / "tests" / room).rglob("test_*.py"))


@pytest.mark.parametrize("path", TEST_FILES, ids=name)
def test_tests_lie_where_what_they_test_lies(path):
    room = path.parent.relative_to(ROOT / "tests")
    tested = path.stem.removeprefix("test_")
    mirrored = (f"{tested}.py", f"__{tested}__.py", tested)
    is_mirror = tested == room.name or any((ROOT / room / one).exists() for one in mirrored)
    assert is_mirror or name(path) in OF_SEVERAL_MODULES


def test_doctests_run_and_types_are_checked_in_every_room():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert set(ROOMS) <= set(settings["pytest"]["ini_options"]["testpaths"])
    assert "--doctest-modules" in settings["pytest"]["ini_options"]["addopts"]
    assert set(ROOMS) == set(settings["mypy"]["files"])


def test_no_exception_is_listed_in_vain():
    """The lists above only shrink: what is mended is taken off them."""
    assert set(OF_SEVERAL_MODULES) <= set(map(name, TEST_FILES))
    heavy = {top(one) for path in WITH_BENCH for one in (*function_imports(tree(path)), *imports(tree(path)))}
    assert set(LATE) <= heavy
