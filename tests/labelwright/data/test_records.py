"""Files as people have them: encodings, delimiters, quotes, odd JSON, odd Parquet; every fault named, none repaired."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeEngine
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import read_records

from labelwright.bundle.types import Bundle
from labelwright.data.formats.dialect import Dialect
from labelwright.data.formats.text_lines import has_half_a_character
from labelwright.data.records import (
    Fault,
    Row,
    is_missing,
    read_rows,
    refusal,
    scan_jsonl,
    scan_lines,
    scan_records,
    text_of,
)
from labelwright.data.task import Label, Task, read_examples
from labelwright.errors import DataError
from labelwright.labelling import JsonLines, json_line, label_rows
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration


def write(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def said(path: Path) -> str:
    """The one line that refuses a file."""
    with pytest.raises(DataError) as caught:
        read_records(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


# ------------------------------------------------------------------------------------------------------------ quotes

GOOD = "".join(f"good {i},{'ab'[i % 2]}\n" for i in range(8))


def test_an_unclosed_quote_swallows_no_row(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", 'text,label\n"unclosed start,d\n' + GOOD + '"another one,b\n')
    message = said(path)
    assert message.startswith(", rows 1 (line 2) and 10 (line 11): a quote opens and none closes")
    rows, faults = read_rows(path)
    assert [row.number for row in rows] == list(range(2, 10))
    assert [row.record["text"] for row in rows] == [f"good {i}" for i in range(8)]
    assert [fault.number for fault in faults] == [1, 10]


def test_a_quote_that_is_never_closed_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    rows, faults = read_rows(write(tmp_path / "r.csv", 'text,label\nfine,a\n"never closed,b\n' + GOOD))
    assert [str(fault).partition(":")[0] for fault in faults] == ["row 2 (line 3)"]
    assert len(rows) == 9


@pytest.mark.parametrize("n_between", [1, 2, 8])
def test_a_quoted_cell_that_ends_well_but_holds_rows(tmp_path: Path, n_between: int) -> None:
    between = "".join(GOOD.splitlines(keepends=True)[:n_between])
    tail = "last one,a\nthe end,b\n"
    path = write(tmp_path / "r.csv", f'text,label\nfirst,a\n"unclosed,b\n{between}closed here",b\n{tail}')
    assert said(path).startswith(", row 2 (line 3): a quoted cell runs on over lines that look like rows; close")
    assert len(read_rows(path)[0]) == 1 + n_between + 1 + 2


def test_swallowed_rows_are_seen_where_nothing_else_is_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", 'text,label\n"unclosed,b\n' + GOOD + 'closed here",b\n')
    assert "row 1 (line 2): a quoted cell runs on" in said(path)


@pytest.mark.parametrize(
    "text",
    [
        "Dear Sir,\nthe pool, as you know, is green.\n\nYours,\nB",
        "one, two\nthree, four\nfive, six\nseven, eight",
        "milk,eggs\nbread,butter\nflour,salt",
        'he said "no,\nnever"',
        "line\r\nbreaks\rof all kinds\u2028here",
        "a\n",
    ],
)
def test_texts_of_several_lines_are_texts(tmp_path: Path, text: str) -> None:
    with (tmp_path / "r.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), ("before", "a"), (text, "b"), ("after", "a")])
    records = read_records(tmp_path / "r.csv")
    assert [record["text"] for record in records] == ["before", text, "after"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text("ab ,;\"'\n\r\tæ😀", min_size=1), st.sampled_from(["x,1", "y"])), min_size=1, max_size=6)
)
def test_what_a_csv_writer_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    path = tmp_path_factory.mktemp("csv") / "r.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    found, faults = read_rows(path)
    if not any("look like rows" in fault.reason for fault in faults):
        assert not faults
        assert [(row.record["text"], row.record["label"]) for row in found] == rows


def test_text_behind_a_closing_quote_is_no_longer_glued_on(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", 'text,label\n"wide" gate,a\nfine,b\n')
    assert said(path).startswith(", row 1 (line 2): a quote opens and none closes at the end of its cell")


def test_long_cells_just_work(tmp_path: Path) -> None:
    long = "word " * 60_000
    path = write(tmp_path / "r.csv", f'text,label\n{long},x\n"{long}",y\n')
    assert [len(record["text"]) for record in read_records(path)] == [300_000, 300_000]


def test_a_header_with_a_column_twice_or_an_open_quote(tmp_path: Path) -> None:
    assert "the header has the column 'text' twice" in said(write(tmp_path / "r.csv", "text,label,text\na,b,c\n"))
    assert read_records(write(tmp_path / "r.csv", "text,label,,\na,b,,\n")) == [{"text": "a", "label": "b", "": ""}]
    assert "line 1: the header is no CSV" in said(write(tmp_path / "r.csv", '"text,label\na,b\n'))


# ------------------------------------------------------------------------------------------- delimiters and encodings


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_delimiters_and_encodings_are_recognised(tmp_path: Path, delimiter: str, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith(("le", "be")) else ""
    rows = [("id", "text", "label"), ("1", "héllo, you; there | 😀\tnow", "x"), ("2", "plain", "y")]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows(rows)
    path = write(tmp_path / "r.csv", mark + file.getvalue(), encoding)
    assert [tuple(record.values()) for record in read_records(path)] == rows[1:]
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\r\n" for _, text, _ in rows)
    path = write(tmp_path / "r.jsonl", mark + lines, encoding)
    assert [record["text"] for record in read_records(path)] == [text for _, text, _ in rows]


def test_the_delimiter_is_the_one_that_fits_the_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "text;label, as given\nhello;a\nbye;b\n")
    assert read_records(path)[0] == {"text": "hello", "label, as given": "a"}
    assert read_records(write(tmp_path / "r.csv", "sep=;\ntext;label\na,b;x\n")) == [{"text": "a,b", "label": "x"}]
    assert read_records(write(tmp_path / "r.csv", 'text\n"a, b"\nc; d\n')) == [{"text": "a, b"}, {"text": "c; d"}]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_named(tmp_path: Path, encoding: str) -> None:
    for name, text in (("r.csv", "text,label\nhello,x\n"), ("r.jsonl", '{"text": "hello"}\n')):
        assert "this looks like UTF-16-" in said(write(tmp_path / name, text, encoding))


def test_broken_utf16_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "text,label\nhello,x\n".encode("utf-16") + b"\x00")
    assert "not UTF-16, as its first bytes say it is" in said(path)


def test_lines_that_are_not_utf8_are_named_with_the_likely_encoding(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "text,label\ncafé,x\nfine,y\nnaïve,x\n", "cp1252")
    assert said(path).startswith(", lines 2 and 4: not UTF-8; save the file as UTF-8 (if it is Windows-1252")
    assert [row.number for row in read_rows(path)[0]] == [2]
    path = write(tmp_path / "r.jsonl", '{"text": "fine"}\n\n{"text": "café"}\n', "cp1252")
    assert said(path).startswith(", line 3: not UTF-8")
    assert [row.record for row in read_rows(path)[0]] == [{"text": "fine"}]
    assert "line 1: not UTF-8" in said(write(tmp_path / "r.csv", "téxt,label\na,x\n", "cp1252"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_pipe_is_read_in_the_same_encodings(encoding: str) -> None:
    content = '{"text": "é"}\r\n\r\n{"text": 7}\r\n'.encode(encoding)
    rows = list(scan_jsonl(io.BytesIO(content), "stdin"))
    assert rows == [Row(1, {"text": "é"}), Row(2, {"text": 7})]
    lines = list(scan_lines(io.BytesIO("é a\n\n b \n".encode(encoding)), "stdin"))
    assert lines == [Row(1, {"text": "é a"}), Row(2, {"text": "b"})]
    found = list(scan_lines(io.BytesIO("fine\ncafé\nfine\n".encode("cp1252")), "stdin"))
    assert [getattr(one, "unit", "") for one in found] == ["", "line", ""]


# -------------------------------------------------------------------------------------------------------------- JSON


def test_odd_lines_of_json_are_named_and_the_others_read(tmp_path: Path) -> None:
    lines = [
        '{"text": "a", "label": "x"}',
        '{"text": "a", "text": "b"}',
        "[" * 100_000,
        '{"n": ' + "1" * 5000 + "}",
        "7",
        '{"text": "with \u2028 in it", "n": NaN, "m": Infinity, "deep": {"a": [1]}}',
        '{"text": "cut',
    ]
    path = write(tmp_path / "r.jsonl", "\r\n".join(lines))
    rows, faults = read_rows(path)
    assert [row.number for row in rows] == [1, 6]
    assert rows[1].record["text"] == "with \u2028 in it"
    assert [fault.place for fault in faults] == ["line 2", "line 3", "line 4", "line 5", "line 7"]
    message = said(path)
    assert message.startswith(", line 2: the key 'text' stands there twice; keep one; line 3: not JSON")


@pytest.mark.parametrize(
    "text", ['[{"text": "a"}, {"text": "b"}]', '[\n{"text": "a"},\n{"text": "b"}\n]', '{\n "text": "a"\n}']
)
def test_json_that_is_not_lines_is_named_once(tmp_path: Path, text: str) -> None:
    assert "write each row as an object on a line of its own" in said(write(tmp_path / "r.jsonl", text))


# ----------------------------------------------------------------------------------------------------------- Parquet


def parquet_file(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> Path:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = arrow.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, path)
    return path


CLASSES = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": ["ham", "spam"], "_type": "ClassLabel"}}


def test_parquet_of_datasets_has_names_not_numbers(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "r.parquet", {"text": ["a", "b"], "label": [1, 0]}, CLASSES)
    assert [row.label for row in read_examples(path)] == ["spam", "ham"]


def test_a_class_number_that_is_none_is_named_with_its_rows(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "r.parquet", {"text": list("abcd"), "label": [1, -1, -1, 7]}, CLASSES)
    with pytest.raises(DataError) as caught:
        read_examples(path)
    assert "rows 2 and 3: the label is -1, which stands for a row without one" in str(caught.value)
    assert "row 4: the label is number 7 of 2 classes" in str(caught.value)
    # Who does not use the column, as when labelling, has no fault to report.
    assert [text_of(record, "text", "text") for record in read_records(path)] == list("abcd")


@pytest.mark.parametrize("metadata", [b"", b"{", b"[]", b'{"info": 3}', b'{"info": {"features": {"label": 3}}}'])
def test_other_metadata_is_left_alone(tmp_path: Path, metadata: bytes) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = arrow.table({"text": ["a"], "label": [1]}).replace_schema_metadata({"huggingface": metadata})
    parquet.write_table(table, tmp_path / "r.parquet")
    assert read_records(tmp_path / "r.parquet") == [{"text": "a", "label": 1}]


def test_times_beyond_python_harm_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrow = pytest.importorskip("pyarrow")
    far = {
        "ns": arrow.array([10**18 + 1, None], arrow.timestamp("ns")),
        "far": arrow.array([2**60, 0], arrow.timestamp("us")),
        "date": arrow.array([3_000_000, -3_000_000], arrow.date32()),
        "span": arrow.array([2**62, 0], arrow.duration("s")),
        "zone": arrow.array([0, 0], arrow.timestamp("s", tz="Mars/Base")),
        "list": arrow.array([[2**60], []], arrow.list_(arrow.timestamp("us"))),
    }
    path = parquet_file(tmp_path / "r.parquet", {"text": ["a", "b"], "label": ["x", "y"], **far})
    assert [row.text for row in read_examples(path)] == ["a", "b"]
    assert read_records(path)[0]["date"] == "10183-09-21"
    assert json.loads(json_line(read_records(path)[0]))["list"].startswith("<list<")
    with pytest.raises(DataError, match=r"the text is of type list<.* with values that cannot be read"):
        read_examples(path, text="list")


def test_parquet_with_a_column_twice(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = arrow.Table.from_arrays([arrow.array(["a"])] * 2, names=["text", "text"])
    parquet.write_table(table, tmp_path / "r.parquet")
    assert "column 'text' is there twice" in said(tmp_path / "r.parquet")


# ------------------------------------------------------------------------------------------------- cells and messages


@pytest.mark.parametrize("value", [None, "", " \n", float("nan"), np.float32("nan"), np.datetime64("NaT")])
def test_missing_values(value: object) -> None:
    assert is_missing(value)


def test_missing_values_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    assert is_missing(pandas.NA)
    assert is_missing(pandas.NaT)
    assert not any(map(is_missing, [0, 0.0, False, "nan", np.int64(0), np.array([1, 2])]))


@pytest.mark.parametrize("value", ["a\0b", "\ud83d", ["a"], ("a",), {"a": 1}, b"a", np.array(["a"])])
def test_cells_that_are_no_text(value: object) -> None:
    with pytest.raises(DataError, match=r"^the text "):
        text_of({"text": value}, "text", "text")


def test_a_refusal_says_how_many_it_leaves_out() -> None:
    same = [Fault(n, "the text is empty") for n in range(1, 41)]
    assert str(refusal("f", same)).endswith("rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 28 more: the text is empty")
    kinds = [Fault(n, f"reason {n}") for n in range(9)]
    assert str(refusal("f", kinds)).endswith("(9 faults in all)")


def test_rows_are_read_one_at_a_time_and_a_fault_costs_no_other(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", '{"text": "a"}\nnot json\n{"text": "c"}\n')
    rows = scan_records(path)
    assert next(rows) == Row(1, {"text": "a"})
    assert "not JSON" in str(next(rows))
    assert [type(found) for found in scan_records(path)] == [Row, Fault, Row]


# ----------------------------------------------------------------------------------------------------- rows and answers


def answering() -> tuple[Bundle, FakeEngine]:
    task, engine = Task("t", "Name it.", (Label("pool"), Label("fence"))), FakeEngine()
    return Bundle(task, Prompt.for_task(task, engine.template), Base("fake"), Calibration()), engine


def test_one_bad_row_costs_no_other_row_its_answer() -> None:
    texts = ["the pool", "", "the fence", None, "pool", ["no text"], "fence"]
    rows: list[Row | Fault] = [Row(n, {"text": text, "label": "old"}) for n, text in enumerate(texts, start=1)]
    rows.insert(3, Fault(9, "not JSON", "line"))
    found = list(label_rows(rows, *answering(), source="f", chunk_rows=3))
    assert [one["label"] for one in found] == ["pool", None, "fence", None, None, "pool", None, "fence"]
    assert [one["error"] for one in found if "error" in one] == [
        "f, row 2: the text is empty; fill it in or remove the row",
        "f, line 9: not JSON",
        "f, row 4: the text is empty; fill it in or remove the row",
        "f, row 6: the text is a list, not text; put plain text in 'text'",
    ]
    assert found[0]["input_label"] == found[1]["input_label"] == "old"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_answers_reach_any_console(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"text": "pool \ud83d 😀 é", "label": "Schwimmbad ü"}
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", console)
    with JsonLines() as lines:
        lines.write(row)
    console.flush()
    assert json.loads(console.buffer.getvalue().decode(encoding)) == row


def test_lines_for_fasttext_have_one_label_each(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("__label__pool the pump  is loud\n\nno water __label__hvac\n__label__a __label__b two\nnone\n")
    rows, faults = read_rows(path, Dialect(label_prefix="__label__"))
    assert [(row.number, row.record) for row in rows] == [
        (1, {"text": "the pump is loud", "label": "pool"}),
        (2, {"text": "no water", "label": "hvac"}),
    ]
    assert [str(fault) for fault in faults] == [
        "line 4: several words begin with '__label__'; a row has one label: leave one",
        "line 5: no word begins with '__label__'; a row has one label: leave one",
    ]


@given(st.text(st.characters(), max_size=20))
def test_half_a_character_is_found_wherever_it_stands(text):
    assert has_half_a_character(text) == any("\ud800" <= one <= "\udfff" for one in text)
    assert has_half_a_character(f"{text}\ud800{text}")
    assert has_half_a_character(f"{text}\udfff")
