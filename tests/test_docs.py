"""What README and docs refer to is there: files, modules and names, make targets, recipe keys, options, the house."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from itertools import takewhile
from pathlib import Path

import pytest

from workbench.recipe.read import read_recipe
from workbench.recipe.recipe import TABLES
from workbench.recipe.stages import STAGES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "data" / "homeowner" / "README.md"]
PACKAGES = ("labelwright", "programs", "rewards", "optimizers", "baselines", "workbench", "bench")
FOLDERS = (*PACKAGES, "tests", "docs", "runs", "data", "servers")
# What `make new` writes where a page shows it.
EXAMPLES = ["runs/tickets.toml"]
# Keys of a recipe's data that every one must have, for blocks that show other tables only.
LEAST = {"data": '[data]\npath = "rows.jsonl"\n', "task": '[task]\ninstructions = "Name the topic."\n'}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(text: str, kind: str = r"\w*") -> list[str]:
    """What stands in fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def quoted(text: str) -> list[str]:
    """What is written as code: between backticks, and the lines of blocks, fenced or indented."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    \S.*$", prose, re.MULTILINE)
    return [
        *re.findall(r"`([^`]+)`", prose),
        *indented,
        *(line for block in blocks(text) for line in block.split("\n")),
    ]


def missing_files(text: str, page: Path = ROOT / "README.md") -> list[str]:
    """Paths and links of a text that lead nowhere. What runs write (``runs/`` without ``.toml``) is not there yet."""
    found = re.findall(rf"(?<![\w/.<-])(?:{'|'.join(FOLDERS)})/[\w.*<>/-]*[\w*>/]", text)
    written = [path for path in found if path.startswith("runs/") and not path.endswith(".toml")] + EXAMPLES
    gone = [path for path in found if path not in written and not list(ROOT.glob(path.rstrip("/")))]
    alone = [one for code in quoted(text) for one in re.findall(r"(?<![\w/.*-])(\w+\.py)\b", code)]
    gone += [one for one in alone if not any(any((ROOT / folder).rglob(one)) for folder in FOLDERS)]
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    return gone + [link for link in links if not leads_somewhere(link, text, page)]


def leads_somewhere(link: str, text: str, page: Path) -> bool:
    """Whether a page's local link has its file, and in it, where it is a page, the heading."""
    file, _, anchor = link.partition("#")
    target = page.parent / file
    if file and not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text(encoding="utf-8") if file else text)


def anchors(text: str) -> set[str]:
    """What a page's headings are called in links, as GitHub makes it of their words."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = [
        re.sub(r"\]\([^)]*\)", "", heading).lower() for heading in re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    ]
    return {re.sub(r"[^\w -]", "", heading).strip().replace(" ", "-") for heading in headings}


def missing_names(text: str) -> list[str]:
    """Dotted names of the house that are in no file."""
    dotted = [
        one for code in quoted(text) for one in re.findall(rf"(?<![\w./\[])(?:{'|'.join(PACKAGES)})(?:\.\w+)+", code)
    ]
    return [one for one in dotted if not re.search(r"\.(py|toml|md|json)$", one) and not is_there(one)]


def is_there(dotted: str) -> bool:
    """Whether a module, or a class, function or constant in it, or a class's own member, has that name."""
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:n])
        module = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if module.is_file():
            return holds(ast.parse(module.read_text(encoding="utf-8")), parts[n:])
    return False


def holds(node: ast.AST, parts: list[str]) -> bool:
    if not parts:
        return True
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and inner.name == parts[0]:
            return holds(inner, parts[1:])
        if isinstance(inner, ast.If) and holds(inner, parts):
            return True
        # What a room hands on is its own as well.
        if isinstance(inner, ast.ImportFrom) and parts[0] in [alias.asname or alias.name for alias in inner.names]:
            return len(parts) == 1
        if isinstance(inner, ast.Assign | ast.AnnAssign):
            targets = inner.targets if isinstance(inner, ast.Assign) else [inner.target]
            if any(isinstance(one, ast.Name) and one.id == parts[0] for one in targets):
                return len(parts) == 1
    return False


def missing_targets(text: str) -> list[str]:
    """Targets and variables of ``make …`` that the Makefile does not have."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"(?:^|value |typed,|option,|\$\()([A-Z]{3,})(?= \?=|\)|,)", makefile, re.MULTILINE))
    gone = []
    for code in quoted(text):
        for command in re.findall(r"\bmake ((?:[a-z-]+ ?)+)", code):
            gone += [target for target in command.split() if target not in targets]
        if "make " in code:
            gone += [one for one in re.findall(r"\b([A-Z]{3,})=", code) if one not in variables]
    return gone


def missing_keys(text: str) -> list[str]:
    """``[table] key`` of a recipe that no recipe could have."""
    gone = []
    for code in quoted(text):
        for table, key in re.findall(r"^\[([a-z_]+)(?:\.[\w.-]+)?\](?: (\w+))?", code):
            if table not in (*TABLES, *STAGES):
                gone.append(code)
            elif key and "." not in code.partition("]")[0]:
                module, cls = STAGES.get(table, ("", ""))
                of = TABLES[table] if table in TABLES else getattr(import_module(module), cls)
                gone += [code] if key not in {one.name for one in fields(of)} else []
    return gone


def missing_options(text: str) -> list[str]:
    """``--options`` that no command of the house has."""
    given = {
        option for code in quoted(text) if "pip" not in code for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)
    }
    sources = [path.read_text(encoding="utf-8") for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    known = set(re.findall(r'"(--[a-z][a-z-]+)"', "\n".join(sources)))
    return sorted(given - known)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_page_refers_to_is_there(page):
    text = page.read_text(encoding="utf-8")
    if page.name == "extending.md":  # what it adds is not there
        text = re.sub(r"^(`[^`]+`:\n\n)?```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    gone = missing_files(text, page) + missing_names(text) + missing_targets(text) + missing_keys(text)
    assert gone + missing_options(text) == []


def test_what_is_not_there_would_be_noticed():
    assert missing_files("see `docs/none.md`, workbench/none/ and [it](none.md), `ghost.py`") == [
        "docs/none.md",
        "workbench/none/",
        "ghost.py",
        "none.md",
    ]
    assert missing_files(
        "[a](docs/recipe.md#ghost) [b](#ghost) [c](docs/recipe.md#all-settings) [d](#two-words)\n# Two `words`!"
    ) == [
        "docs/recipe.md#ghost",
        "#ghost",
    ]
    assert missing_names("`labelwright.prompt.Prompt.render` `labelwright.prompt.Ghost` `labelwright.ghost`") == [
        "labelwright.prompt.Ghost",
        "labelwright.ghost",
    ]
    assert missing_targets("`make ghost RECIPE=x` or `make compare GHOST=x`") == ["ghost", "GHOST"]
    assert missing_keys("`[models] ghosts`, `[ghost]`, `[grpo] steps`, `[baselines.settings.sgd-chars]`") == [
        "[models] ghosts",
        "[ghost]",
    ]
    assert missing_options("`labelwright predict --backend x --ghost`") == ["--ghost"]


def test_recipes_in_the_docs_are_recipes(tmp_path):
    for page in PAGES:
        if page.name != "extending.md":  # its recipes have what it adds; test_extending.py runs them
            for number, block in enumerate(blocks(page.read_text(encoding="utf-8"), "toml")):
                path = tmp_path / f"{page.stem}-{number}.toml"
                lacking = [table for key, table in LEAST.items() if f"[{key}]" not in block]
                path.write_text(block + "\n" + "".join(lacking), encoding="utf-8")
                read_recipe(path)


def house() -> Iterator[str]:
    """Paths of README's tree, from its indentation."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (drawn,) = [block for block in blocks(text) if block.startswith("labelwright/")]
    above: list[tuple[int, str]] = []
    for line in drawn.splitlines():
        indent = len(line) - len(line.lstrip())
        above = [one for one in above if one[0] < indent]
        named = list(takewhile(lambda word: word.endswith(("/", ".py")), line.split()))
        yield from ("".join(one[1] for one in above) + part for part in named)
        above.append((indent, named[0]))


def test_the_house_in_the_readme_is_the_house():
    drawn = list(house())
    assert [path for path in drawn if not (ROOT / path).exists()] == []
    rooms = {
        f"{name(path.parent)}/"
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
        if "__pycache__" not in path.parts
    }
    assert rooms - set(drawn) == set()
