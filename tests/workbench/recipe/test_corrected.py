"""Whatever a data file is: corrected, it is read as the same rows with the other labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelwright.data.task import read_examples
from workbench.recipe.corrected import write_corrected

LETTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff")
TEXT = st.text(LETTERS, min_size=1).filter(str.strip)
LABEL = st.sampled_from(["pool", "fence", "water heater", 'a "quoted", one'])


def csv_cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def write(path: Path, rows: list[tuple[str, str]], delimiter: str = ",") -> None:
    if path.suffix == ".csv":
        lines = [delimiter.join(("text", "label"))] + [delimiter.join(map(csv_cell, row)) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in rows) + "\n\n")
    else:
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        parquet.write_table(arrow.table({"text": [one for one, _ in rows], "label": [one for _, one in rows]}), path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), delimiter=st.sampled_from(",;\t|"))
def test_only_what_is_corrected_changes(suffix: str, data: st.DataObject, delimiter: str, tmp_path: Path) -> None:
    rows = data.draw(st.lists(st.tuples(TEXT, LABEL), min_size=2, max_size=6))
    numbers = st.integers(1, len(rows))
    new = data.draw(st.dictionaries(numbers, st.none() | LABEL, max_size=len(rows) - 1))
    source, target = tmp_path / f"rows{suffix}", tmp_path / f"corrected{suffix}"
    write(source, rows, delimiter)
    before = source.read_bytes()
    had = [(row.text, row.label) for row in read_examples(source)]
    write_corrected(source, "label", new, target)
    expected = [(text, new.get(n, label)) for n, (text, label) in enumerate(had, start=1) if new.get(n, "") is not None]
    assert [(row.text, row.label) for row in read_examples(target)] == expected
    assert source.read_bytes() == before


def test_the_encoding_becomes_utf8_and_excels_first_line_stays(tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_bytes("sep=;\r\ntext;label\r\nÖl; pool\r\nTür;pool\r\n".encode("utf-16"))
    write_corrected(source, "label", {2: "fence"}, tmp_path / "new.csv")
    assert [(row.text, row.label) for row in read_examples(tmp_path / "new.csv")] == [("Öl", "pool"), ("Tür", "fence")]


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "label": 3}\n{"text": "b", "label": true}\n')
    write_corrected(tmp_path / "rows.jsonl", "label", {1: "4", 2: "5"}, tmp_path / "new.jsonl")
    lines = (tmp_path / "new.jsonl").read_text().splitlines()
    assert [json.loads(line)["label"] for line in lines] == [4, "5"]


def test_class_numbers_of_datasets_stay_class_numbers(tmp_path: Path) -> None:
    import datasets
    import pyarrow.parquet as parquet

    names = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 0, 1]}, features=names)
    rows.to_parquet(str(tmp_path / "rows.parquet"))
    write_corrected(tmp_path / "rows.parquet", "label", {1: "yes", 2: None}, tmp_path / "new.parquet")
    assert [(row.text, row.label) for row in read_examples(tmp_path / "new.parquet")] == [("a", "yes"), ("c", "yes")]
    table = parquet.read_table(tmp_path / "new.parquet")
    assert table.column("label").to_pylist() == [1, 1]
    assert table.schema.equals(parquet.read_table(tmp_path / "rows.parquet").schema, check_metadata=True)
