"""docs/vocabulary.md explains the words that are used, and words that were given up are used nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
VOCABULARY = ROOT / "docs" / "vocabulary.md"
CODE = ("labelwright", "programs", "rewards", "optimizers", "baselines", "workbench")
TEXT = {".py", ".md", ".toml", ".json", ".txt", ".jinja", ".ini", ""}
# Words that other words took the place of, and the files that tell so whoever still uses them (this one names them).
GIVEN_UP = {"rung": "candidate", "ladder": "comparison"}
HINTS = {"Makefile", "workbench/recipe/fill.py", "tests/test_vocabulary.py"}
NOT_OURS = {".git", ".venv", ".venv-vllm", "data", "__pycache__", "build", "dist", "mlruns", "shared"}


def words() -> list[str]:
    return re.findall(r"\*\*(.+?)\*\*", VOCABULARY.read_text(encoding="utf-8"))


def our_files(folder: Path = ROOT) -> Iterator[Path]:
    """Text files of the project. Caches and what runs write are not its text."""
    for path in sorted(folder.iterdir()):
        if path.name in NOT_OURS or path.name.endswith((".egg-info", "_cache", ".hypothesis")):
            continue
        if path.is_dir() and folder != ROOT / "runs":
            yield from our_files(path)
        elif path.is_file() and path.suffix in TEXT:
            yield path


def given_up(text: str) -> list[str]:
    found = re.findall(rf"(?<![a-z])({'|'.join(GIVEN_UP)})s?(?![a-z])", text, re.IGNORECASE)
    return [word.lower() for word in found]


def test_every_word_is_used_in_the_code():
    sources = (path.read_text(encoding="utf-8") for folder in CODE for path in (ROOT / folder).rglob("*.py"))
    # One space for what joins words: "self-check", "self_check" and "self check" are one word.
    code = re.sub(r"[\W_]+", " ", "\n".join(sources)).lower()
    unused = [word for word in words() if not re.search(rf"\b{re.sub('[ -]', ' ', word.lower())}(s|es)?\b", code)]
    assert unused == []


def test_every_word_has_one_line_and_stands_once():
    lines = VOCABULARY.read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if line.startswith("- ")]
    assert len(entries) > 50
    assert all(re.match(r"- \*\*.+?\*\*: .+\.$", line) for line in entries)
    assert sorted(words()) == sorted(set(words()))


@pytest.mark.parametrize("word", GIVEN_UP)
def test_a_word_that_was_given_up_is_used_nowhere(word):
    used = {path.relative_to(ROOT).as_posix() for path in our_files() if word in given_up(path.read_text("utf-8"))}
    assert used - HINTS == set()


def test_a_word_that_was_given_up_would_be_noticed():
    assert given_up("Rungs of the ladder, n_rung; wrung, ladders2") == ["rung", "ladder", "rung", "ladder"]
    assert {"Makefile", "docs/vocabulary.md"} <= {path.relative_to(ROOT).as_posix() for path in our_files()}
