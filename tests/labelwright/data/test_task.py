"""Rows, labels and splits: every bad input is refused in one line that names file, row and remedy."""

from __future__ import annotations

import builtins
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import example as tried_always
from hypothesis import given
from hypothesis import strategies as st
from rows import find_leaks, read_records

from labelwright.data.task import (
    Example,
    Label,
    Splits,
    Task,
    by_label,
    check_examples,
    examples_from_records,
    group_keys,
    normalise,
    read_examples,
    texts_and_labels,
)
from labelwright.errors import DataError, MissingExtraError

COLUMNS = {"text": "text", "label": "label"}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def jsonl(path: Path, *rows: dict) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def example(id: str, text: str, label: str, group: str | None = None) -> Example:
    return Example(id, text, label, group=group)


# ------------------------------------------------------------------------------------------------------- reading


def test_jsonl_csv_and_parquet_give_the_same_examples(tmp_path):
    rows = [
        {"message": 'says "hello", twice\nor so', "kind": "a", "family": "f1", "key": "r1"},
        {"message": "über 😀", "kind": "b", "family": "f1", "key": "r2"},
    ]
    jsonl(tmp_path / "rows.jsonl", *rows)
    write(tmp_path / "rows.csv", 'message,kind,family,key\n"says ""hello"", twice\nor so",a,f1,r1\nüber 😀,b,f1,r2\n')
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    expected = [
        example("r1", 'says "hello", twice\nor so', "a", "f1"),
        example("r2", "über 😀", "b", "f1"),
    ]
    for suffix in ("jsonl", "csv", "parquet"):
        path = tmp_path / f"rows.{suffix}"
        assert read_examples(path, text="message", label="kind", group="family", id="key") == expected


def test_rows_without_ids_are_numbered_and_stripped(tmp_path):
    path = jsonl(tmp_path / "r.jsonl", {"text": "  a ", "label": " x"}, {"text": 7, "label": 0})
    assert read_examples(path) == [example("1", "a", "x"), example("2", "7", "0")]


def test_byte_order_mark_and_blank_lines_are_no_rows(tmp_path):
    write(tmp_path / "r.jsonl", '\n{"text": "a", "label": "x"}\n\n', "utf-8-sig")
    write(tmp_path / "r.csv", "text,label\r\na,x\r\n", "utf-8-sig")
    for path in (tmp_path / "r.jsonl", tmp_path / "r.csv"):
        assert read_examples(path) == [example("1", "a", "x")]


def test_missing_groups_and_ids_are_none_and_numbers():
    records = [
        {"text": "a", "label": "x", "g": "", "i": 0},
        {"text": "b", "label": "x", "g": None, "i": None},
        {"text": "c", "label": "y", "g": float("nan"), "i": " "},
        {"text": "d", "label": "y", "g": 5, "i": "k"},
    ]
    rows = examples_from_records(records, COLUMNS | {"group": "g", "id": "i"}, "data")
    assert [(row.id, row.group) for row in rows] == [("0", None), ("2", None), ("3", None), ("k", "5")]


def test_choices_are_a_list_or_json(tmp_path):
    jsonl(tmp_path / "r.jsonl", {"text": "q", "label": "b", "choices": ["a", "b"]})
    write(tmp_path / "r.csv", 'text,label,choices\nq,b,"[""a"", ""b""]"\n')
    for path in (tmp_path / "r.jsonl", tmp_path / "r.csv"):
        assert read_examples(path, choices="choices")[0].choices == ("a", "b")
    bad = jsonl(tmp_path / "bad.jsonl", {"text": "q", "label": "b", "choices": "a or b"})
    with pytest.raises(DataError, match=r"bad.jsonl, row 1: the choices are not a list; expected one such as"):
        read_examples(bad, choices="choices")


# ----------------------------------------------------------------------------------------------- files that are bad


def refusal(path: Path, **columns: str) -> str:
    with pytest.raises(DataError) as caught:
        read_examples(path, **columns)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_file_that_is_not_there(tmp_path):
    assert "no such file; check the path" in refusal(tmp_path / "absent.jsonl")
    (tmp_path / "folder.csv").mkdir()
    assert "no such file" in refusal(tmp_path / "folder.csv")


def test_file_of_another_kind(tmp_path):
    assert "expected a file ending in .jsonl, .json, .csv," in refusal(write(tmp_path / "rows.docx", "x"))


@pytest.mark.parametrize("name", ["r.jsonl", "r.csv"])
def test_file_without_rows(tmp_path, name):
    assert "the file has no rows" in refusal(write(tmp_path / name, ""))
    with pytest.raises(DataError, match="the file has no rows"):
        read_records(write(tmp_path / "head.csv", "text,label\n"))


def test_not_utf8_names_the_line_however_far_down(tmp_path):
    good = '{"text": "fine", "label": "x"}\n' * 5000
    (tmp_path / "r.jsonl").write_bytes(good.encode() + b'{"text": "caf\xe9", "label": "x"}\n')
    assert "line 5001: not UTF-8; save the file as UTF-8" in refusal(tmp_path / "r.jsonl")
    write(tmp_path / "r.csv", "text,label\ncafé,x\n", "latin-1")
    assert "line 2: not UTF-8" in refusal(tmp_path / "r.csv")


def test_lines_that_are_not_objects(tmp_path):
    assert "line 2: not JSON" in refusal(write(tmp_path / "r.jsonl", '{"text": "a", "label": "x"}\n{"text": \n'))
    assert "line 1: expected a JSON object, found list" in refusal(write(tmp_path / "l.jsonl", '["a", "x"]\n'))


def test_csv_with_too_many_cells_or_too_few(tmp_path):
    assert "row 1: more cells than the header has" in refusal(write(tmp_path / "r.csv", "text,label\na, b,x\n"))
    assert "row 2: the label is empty" in refusal(write(tmp_path / "s.csv", "text,label\na,x\nb\n"))


def test_parquet_that_is_none(tmp_path):
    pytest.importorskip("pyarrow")
    assert "not a Parquet file" in refusal(write(tmp_path / "r.parquet", "text,label"))


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_pyarrow(name, *rest, **named):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(MissingExtraError, match=r'pip install "labelwright\[parquet\]"'):
        read_examples(write(tmp_path / "r.parquet", "x"))


# ------------------------------------------------------------------------------------------------ rows that are bad


def test_missing_column_lists_what_is_there(tmp_path):
    path = jsonl(tmp_path / "r.jsonl", {"message": "a", "label": "x"})
    assert "row 1: no column 'text' for text; the row has ['label', 'message']: name the right" in refusal(path)
    path = jsonl(tmp_path / "r.jsonl", {"text": "a", "label": "x"}, {"text": "a"})
    assert "row 2: no column 'label' for label" in refusal(path)
    path = jsonl(tmp_path / "r.jsonl", {"text": "a", "label": "x"})
    assert "row 1: no column 'family' for group" in refusal(path, group="family")


@pytest.mark.parametrize("empty", ["", "  \n", None, float("nan")])
@pytest.mark.parametrize("column", ["text", "label"])
def test_empty_cells(tmp_path, column, empty):
    good = {"text": "a", "label": "x"}
    path = jsonl(tmp_path / "r.jsonl", good, good | {column: empty})
    assert f"row 2: the {column} is empty; fill it in or remove the row" in refusal(path)


def test_cells_that_are_not_text(tmp_path):
    assert "the text is a list, not text" in refusal(jsonl(tmp_path / "r.jsonl", {"text": ["a"], "label": "x"}))
    half = write(tmp_path / "half.jsonl", '{"text": "\\ud83d", "label": "x"}\n')
    assert "row 1: the text holds half a character (a lone surrogate); correct" in refusal(half)


# ----------------------------------------------------------------------------------- sets of rows that are no dataset


def check(*rows: tuple[str, str], names: list[str] | None = None) -> str:
    examples = [example(str(n), text, label) for n, (text, label) in enumerate(rows, start=1)]
    with pytest.raises(DataError) as caught:
        check_examples(examples, names, source="rows.csv")
    assert str(caught.value).startswith("rows.csv")
    return str(caught.value)


GOOD = (("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"))


def test_good_rows_pass():
    check_examples([example(str(n), *row) for n, row in enumerate(GOOD)], ["x", "y", "never seen"])


def test_unknown_label():
    message = check(*GOOD, ("e", "z"), names=["x", "y"])
    assert "row 5: label 'z' is not one of the task's 2 labels; add it to the recipe's labels or correct" in message


def test_one_class():
    assert "all 2 rows have the label 'x'; two are needed" in check(("a", "x"), ("b", "x"))
    assert "no rows" in check()


def test_label_with_one_row():
    assert "label 'z' has one row; add rows or remove the label" in check(*GOOD, ("e", "z"))


def test_one_text_with_two_labels():
    message = check(*GOOD, ("  B ", "y"))
    assert "rows 2 and 5: the same text is labelled 'x' and 'y'; keep one of them" in message


def test_texts_that_differ_in_signs_only_may_differ_in_label():
    rows = [*GOOD, ("great 👍", "x"), ("great 👎", "y"), ("👍", "x"), ("👎", "y"), ("C++", "x"), ("C#", "y")]
    check_examples([example(str(n), *row) for n, row in enumerate(rows)])


def test_repeated_id():
    with pytest.raises(DataError, match="id '1' occurs more than once"):
        check_examples([example("1", text, label) for text, label in GOOD])


# --------------------------------------------------------------------------------------------------- tasks and splits


@pytest.mark.parametrize(
    ("instructions", "labels", "message"),
    [
        (" ", ("a", "b"), "has no instructions"),
        ("x", ("a", " "), "a label with an empty name"),
        ("x", ("a",), r"has 1 label\(s\): a classifier needs at least two"),
        ("x", ("a", "b", "a"), "names the label 'a' more than once"),
        ("x", ("a", "b\nc"), r"a label with a line break, 'b\\nc'"),
    ],
)
def test_tasks_that_cannot_be(instructions, labels, message):
    with pytest.raises(DataError, match=message):
        Task("t", instructions, tuple(map(Label, labels)))


def test_task_names_and_index():
    task = Task("t", "x", (Label("b"), Label("a", "the first letter")))
    assert task.names == ("b", "a")
    assert task.index("a") == 1


def test_for_tuning_holds_no_test_rows():
    rows = tuple(example(str(n), *row) for n, row in enumerate(GOOD))
    splits = Splits(*((row,) for row in rows))
    tuning = splits.for_tuning()
    assert (tuning.train, tuning.dev, tuning.calib) == (splits.train, splits.dev, splits.calib)
    assert find_leaks(tuning) == []
    assert list(vars(tuning).values())[-1] == ()


def test_leaks_are_shared_texts_and_shared_groups():
    clean = Splits((example("1", "a", "x", "g"), example("2", "a!", "x")), (example("3", "b", "x"),), (), ())
    assert find_leaks(clean) == []
    same_text = Splits((example("1", "Won't start", "x"),), (), (example("2", "won't  start!", "x"),), ())
    assert find_leaks(same_text) == [("1", "2")]
    same_group = Splits((example("1", "a", "x", "g"),), (), (), (example("2", "b", "x", "g"),))
    assert find_leaks(same_group) == [("1", "2")]


@given(st.text(), st.text())
def test_normalise_is_idempotent_and_blind_to_case_and_spacing(one, two):
    assert normalise(normalise(one)) == normalise(one)
    assert normalise(f"{one} \n {two}") == normalise(f"{one} {two}")
    if one.isascii():
        assert normalise(one.upper()) == normalise(one)


def test_normalise_keeps_what_is_only_signs():
    assert normalise("👍") != normalise("👎")


def test_columns_and_groups_keep_their_order():
    rows = [example("1", "a", "y"), example("2", "b", "x"), example("3", "c", "y")]
    assert texts_and_labels(rows) == (["a", "b", "c"], ["y", "x", "y"])
    assert {label: [row.id for row in members] for label, members in by_label(rows).items()} == {
        "y": ["1", "3"],
        "x": ["2"],
    }
    assert list(by_label(rows)) == ["y", "x"]


# ------------------------------------------------------------------------------------------- all faults, one message


def test_every_bad_row_is_named_at_once(tmp_path):
    rows = [{"text": "a", "label": "x"}, {"text": "", "label": "x"}, {"text": "b"}, {"text": " ", "label": "y"}]
    message = refusal(jsonl(tmp_path / "r.jsonl", *rows))
    assert "rows 2 and 4: the text is empty; fill it in or remove the row; row 3: no column 'label'" in message


def test_a_wrong_column_name_is_said_once(tmp_path):
    path = jsonl(tmp_path / "r.jsonl", *[{"message": "a", "label": "x"}] * 50)
    assert refusal(path).count("no column") == 1


def test_all_conflicts_are_named_at_once():
    rows = [(f"text {i}", "x") for i in range(30)] + [(f"Text  {i}", "y") for i in range(0, 30, 3)] + [("alone", "z")]
    message = check(*rows, ("far", "unknown"), names=["x", "y", "z"])
    assert "row 42: label 'unknown' is not one of" in message
    assert "rows 1 and 31: the same text is labelled 'x' and 'y'; keep one of them" in message
    assert "so are 4 more texts, rows 19 and 37, 22 and 38, 25 and 39 and 28 and 40" in message
    assert "labels 'z' and 'unknown' have one row" in message


def test_the_same_text_in_another_unicode_form_is_the_same_text():
    assert "the same text is labelled" in check(*GOOD, ("caf\u00e9", "x"), ("cafe\u0301", "y"))


def test_rows_given_as_one_side_need_not_do_for_all(tmp_path):
    rows = [example("1", "a", "x"), example("2", "b", "x"), example("3", "A", "y")]
    check_examples(rows, ["x", "y"], least_rows=0)
    with pytest.raises(DataError, match=r"data, row 3: label 'y' is not one of the task's 1 labels"):
        check_examples(rows, ["x"], least_rows=0)
    check_examples([example(str(n), *row) for n, row in enumerate([*GOOD, ("e", "once")])], least_rows=1)


@pytest.mark.parametrize("column", ["text", "label", "group", "id"])
def test_half_a_character_anywhere_is_named_with_its_row(tmp_path, column):
    row = {"text": "a", "label": "x", "group": "g", "id": "k"}
    path = jsonl(tmp_path / "r.jsonl", row, row | {"id": "l", column: "\ud83d"})
    assert f"row 2: the {column} holds half a character" in refusal(path, group="group", id="id")


def test_numbers_with_gaps_name_the_same_groups():
    records = [
        {"text": "a", "label": "x", "g": 5},
        {"text": "b", "label": "x", "g": 5.0},
        {"text": "c", "label": 1.0, "g": " 5"},
    ]
    rows = examples_from_records(records, COLUMNS | {"group": "g"}, "data")
    assert [row.group for row in rows] == ["5", "5", "5"]
    assert rows[2].label == "1.0", "labels are as they are written: who merges them says so"


def test_texts_nearly_the_same_are_one_only_under_one_label():
    def leaks(one: tuple[str, str], other: tuple[str, str]) -> list[tuple[str, str]]:
        return find_leaks(Splits((example("1", *one),), (), (), (example("2", *other),)))

    assert leaks(("My top-up failed.", "x"), ("my top up failed", "x")) == [("1", "2")]
    assert leaks(("you won", "x"), ("You  WON", "y")) == [("1", "2")]
    assert leaks(("you won?", "x"), ("you won!", "y")) == []
    for one, other in (("ok 👍", "ok 👎"), ("C++", "C#"), ("great :)", "great :("), ("कि", "की"), ("1.5", "15")):
        assert leaks((one, "x"), (other, "x")) == []


@given(st.lists(st.tuples(st.text(max_size=12), st.none() | st.text(max_size=12)), unique_by=lambda one: one[0]))
@tried_always([("1", None), ("2", "alone 1"), ("3", "1"), ("4", "\x001"), ("5", "group 1")])
def test_no_group_is_taken_for_a_row_of_its_own(given_rows):
    rows = [Example(id, "a", "x", group=group) for id, group in given_rows]
    for (one, key), (other, other_key) in itertools.combinations(zip(rows, group_keys(rows), strict=True), 2):
        assert (key == other_key) == (one.group is not None and one.group == other.group)
