"""From people's words to a corrected file: what they mean, what cannot be used, and data that stays as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from labelwright.data.task import Example
from labelwright.errors import DataError
from workbench.compare.details import DoubtedRow
from workbench.recipe.files import read_files, read_records
from workbench.recipe.tables.data import DataTable
from workbench.review import Change, decided, is_plain, summary, write_review
from workbench.tracking.answers import Said
from workbench.tracking.rows import DROP, KEEP, OTHER, TAKE

LABELS = ("pool", "fence", "water heater")
TEXTS = {"a": "the pool is green", "b": "a loose board", "c": "no hot water", "d": "???"}


def asked(id: str, label: str = "pool", suggested: str = "fence") -> DoubtedRow:
    return DoubtedRow("train", id, TEXTS.get(id, "text"), label, suggested, 0.9, "two doubt it")


def said(decision: str = "", label: str = "", who: str = "ann", at_ms: int = 1000) -> Said:
    return Said(who, at_ms, decision, label, "seen on site" if who == "ann" else "")


@pytest.mark.parametrize(
    ("word", "new"),
    [
        (said(KEEP), "pool"),
        (said(TAKE), "fence"),
        (said(OTHER, "water heater"), "water heater"),
        (said(OTHER, " Water_Heater"), "water heater"),
        (said("", "fence"), "fence"),
        (said(DROP), None),
        (said(DROP, "fence"), None),
        (said(KEEP, "pool"), "pool"),
    ],
)
def test_what_a_person_says_becomes_a_label(word: Said, new: str | None) -> None:
    (change,), unanswered = decided([asked("a")], [[word]], LABELS)
    assert (change.old, change.new, change.who, change.comment) == ("pool", new, "ann", "seen on site")
    assert change.when == "1970-01-01T00:00:01+00:00"
    assert unanswered == []


def test_who_spoke_last_stands_for_those_who_say_the_same() -> None:
    (change,), _ = decided([asked("a")], [[said(TAKE, who="bob"), said(OTHER, "fence", at_ms=9000)]], LABELS)
    assert (change.new, change.who, change.when) == ("fence", "ann", "1970-01-01T00:00:09+00:00")


def test_all_that_cannot_be_used_is_refused_at_once_and_in_one_line() -> None:
    words: list[Sequence[Said]] = [
        [said(OTHER, "pol")],
        [said("", "pol")],
        [said(OTHER)],
        [said(KEEP), said(TAKE, who="bob")],
        [said("maybe")],
        [said(TAKE, "water heater")],
        [said(KEEP)],
        [],
    ]
    rows = [asked(f"row{i}") for i in range(len(words))]
    with pytest.raises(DataError) as error:
        decided(rows, words, LABELS)
    message = str(error.value)
    assert "\n" not in message
    assert "rows row0 and row1: 'pol' is no label; expected one of 'pool', 'fence' and 'water heater'" in message
    assert "row row2: another label is said to be right, and none is named" in message
    assert "row row3: ann and bob disagree" in message
    assert "row row4: 'maybe' is none of the answers" in message
    assert "row row5: " in message
    assert not {"row6", "row7"} & set(message.replace(":", " ").split())


def test_labels_that_differ_only_in_writing_are_not_guessed_at() -> None:
    with pytest.raises(DataError, match="'POOL' is no label"):
        decided([asked("a")], [[said(OTHER, "POOL")]], ("pool", "Pool", "fence"))


def test_what_is_open_is_counted() -> None:
    changes, unanswered = decided([asked(id) for id in "abcd"], [[said(KEEP)], [said(TAKE)], [said(DROP)], []], LABELS)
    assert [row.id for row in unanswered] == ["d"]
    assert summary(changes, unanswered) == "4 rows asked: 1 confirmed, 1 relabelled, 1 dropped, 1 unanswered"


@pytest.fixture
def table(tmp_path: Path) -> DataTable:
    lines = [{"id": id, "text": text, "label": "pool", "more": {"x": 1}} for id, text in TEXTS.items()]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return DataTable(path=str(tmp_path / "rows.jsonl"), id="id")


def change(row: str, new: str | None, old: str = "pool") -> Change:
    return Change(row, "train", old, new, "ann", "now", "")


def test_the_corrected_file_is_data_at_once_and_the_data_stays(table: DataTable, tmp_path: Path) -> None:
    before = Path(table.path).read_bytes()
    changes = [change("a", "pool"), change("b", "fence"), change("d", None)]
    rows = [asked(id) for id in "abd"]
    ((key, path),) = write_review(changes, rows, table, read_records(table), "toy", tmp_path / "review")
    assert (key, path) == ("path", tmp_path / "review" / "toy-corrected.jsonl")
    assert Path(table.path).read_bytes() == before
    (found,) = read_files(DataTable(path=str(path), id="id")).rows.values()
    assert [(row.id, row.label) for row in found] == [("a", "pool"), ("b", "fence"), ("c", "pool")]
    lines = path.read_text().splitlines()
    assert lines[0] == before.decode().splitlines()[0]
    assert json.loads(lines[1])["more"] == {"x": 1}
    log = [json.loads(line) for line in (tmp_path / "review" / "toy-changes.jsonl").read_text().splitlines()]
    assert [(one["row"], one["old"], one["new"], one["who"]) for one in log] == [
        ("a", "pool", "pool", "ann"), ("b", "pool", "fence", "ann"), ("d", "pool", None, "ann"),
    ]  # fmt: skip


def test_where_nothing_changes_there_is_a_log_and_no_file(table: DataTable, tmp_path: Path) -> None:
    assert write_review([change("a", "pool")], [asked("a")], table, read_records(table), "toy", tmp_path / "r") == []
    assert [one.name for one in (tmp_path / "r").iterdir()] == ["toy-changes.jsonl"]


def test_rows_that_are_not_what_was_asked_about_are_named_and_nothing_is_written(
    table: DataTable, tmp_path: Path
) -> None:
    rows = [
        asked("a"),
        DoubtedRow("train", "b", "another text", "pool", "fence", 0.9, ""),
        asked("z"),
        asked("c", "fence"),
    ]
    changes = [change("a", "fence"), change("b", None), change("z", None), change("c", None)]
    with pytest.raises(DataError, match="rows b, z and c: not there any more"):
        write_review(changes, rows, table, read_records(table), "toy", tmp_path / "review")
    assert not (tmp_path / "review").exists()


def test_a_test_file_is_corrected_beside_the_other(table: DataTable, tmp_path: Path) -> None:
    """Both files may number their rows alike; the ids of the test file's are marked."""
    (tmp_path / "test.csv").write_text('id;text;label\na;"green; slimy";pool\nb;gate;pool\n')
    table = DataTable(path=table.path, test_path=str(tmp_path / "test.csv"), id="id")
    rows = [asked("a"), DoubtedRow("test", "test:a", "green; slimy", "pool", "fence", 0.9, "")]
    changes = [change("a", "fence"), change("test:a", "water heater")]
    written = dict(write_review(changes, rows, table, read_records(table), "toy", tmp_path / "review"))
    assert written["test_path"].read_text() == 'id;text;label\na;"green; slimy";water heater\nb;gate;pool\n'
    assert json.loads(written["path"].read_text().splitlines()[0])["label"] == "fence"


def test_a_dataset_of_a_hub_becomes_json_lines(tmp_path: Path) -> None:
    table = DataTable(hub="owner/name", label="intent")
    texts = ["the pool is green", "a loose board"]
    files = {
        "owner/name": [
            (Example(str(n), text, "pool"), {"text": text, "intent": "pool", "when": date(2026, 1, n)})
            for n, text in enumerate(texts, start=1)
        ]
    }
    rows = [DoubtedRow("train", "2", "a loose board", "pool", "fence", 0.9, "")]
    ((_, path),) = write_review([change("2", "fence")], rows, table, files, "toy", tmp_path / "review")
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"text": "the pool is green", "intent": "pool", "when": "2026-01-01"},
        {"text": "a loose board", "intent": "fence", "when": "2026-01-02"},
    ]


def test_a_file_that_the_recipe_says_how_to_read_becomes_json_lines_with_all_its_columns(tmp_path: Path) -> None:
    """Both sides of a split that a column says: none of the files is left to say it."""
    source = tmp_path / "rows.csv"
    source.write_bytes("text;label;part;more\n\xd6l;pool;train;1\n;pool;train;2\nTor;pool;test;3\n".encode("cp1252"))
    table = DataTable(path=str(source), encoding="cp1252", split="part", test_split="test", leave_out=("empty",))
    assert not is_plain(table)
    rows = [DoubtedRow("train", "1", "\xd6l", "pool", "fence", 0.9, "")]
    written = dict(write_review([change("1", "fence")], rows, table, read_records(table), "toy", tmp_path / "review"))
    new = DataTable(path=str(written["path"]), test_path=str(written["test_path"]))
    assert [[(row.text, row.label) for row in rows] for rows in read_files(new).rows.values()] == [
        [("\xd6l", "fence")],
        [("Tor", "pool")],
    ]
    assert json.loads(written["path"].read_text())["more"] == "1"
