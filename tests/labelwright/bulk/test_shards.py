"""Every row is in exactly one shard, whatever the file looks like, and is read there as it is read in the whole."""

from __future__ import annotations

import csv
import gzip
import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labelwright.bulk import shards as shards_module
from labelwright.bulk.shards import Shard, checked_rows, in_turn, shards_of
from labelwright.data.formats import starts as starts_module
from labelwright.data.formats.arrow_rows import BATCH_ROWS
from labelwright.data.formats.starts import starts_of
from labelwright.data.formats.text_lines import Start
from labelwright.data.records import scan_records
from labelwright.errors import DataError


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), every=st.integers(1, 12))
def test_every_row_is_in_one_shard_whatever_the_sizes(sizes, every):
    starts = [[Start(rows) for rows in range(0, size, every)] for size in sizes]
    names = [f"{n}.jsonl" for n in range(len(sizes))]
    made = shards_of(names, starts, every)
    covered = []
    for shard in made:
        size = sizes[int(Path(shard.source).stem)]
        end = size if shard.n_rows is None else shard.start.rows + shard.n_rows
        covered += [(shard.source, row) for row in range(shard.start.rows, end)]
    assert covered == [(name, row) for name, size in zip(names, sizes, strict=True) for row in range(size)]
    assert [shard.number for shard in made] == list(range(len(made)))
    assert sorted(in_turn(made), key=lambda shard: shard.number) == made
    assert [Shard.of(json.loads(json.dumps(shard.as_json()))) for shard in made] == made


def test_what_begins_a_file_is_answered_first():
    made = shards_of(["a", "b"], [[Start(0), Start(4)], [Start(0), Start(4)]], 4)
    assert [shard.number for shard in in_turn(made)] == [0, 2, 1, 3]


@pytest.mark.parametrize("rows", [0, -1024, 512, BATCH_ROWS + 1])
def test_a_shard_ends_where_chunks_end(rows):
    with pytest.raises(DataError, match=rf"--shard-rows {rows}: expected a multiple of {BATCH_ROWS}, as 4096"):
        checked_rows(rows)


# ------------------------------------------------------------------ files, whatever is in them

LINES = st.lists(
    st.sampled_from(
        [
            '{"text": "é pool"}\n',
            '{"text": "a"}\r\n',
            "\n",
            "  \r\n",
            '{"text": "b"}\r',
            "no JSON\n",
            '"\u2028"\n',
            "\ufeff{}\n",
        ]
    ),
    min_size=1,
    max_size=25,
)
CELLS = st.lists(
    st.sampled_from(
        ["é pool,a\n", '"two\n\nlines",b\r\n', '"open,a\n', "1,2,3\n", "\n", '"a ""b""",c\n', "plain,a\r", '"x\ny,b\n']
    ),
    min_size=1,
    max_size=25,
)


def same_in_shards(path: Path, every: int) -> int:
    """Read a file in shards and as a whole; how many shards there are."""
    whole = list(scan_records(path))
    starts = starts_of(path, every)
    read = [row for start in starts for row in islice(scan_records(path, start=start), every)]
    assert list(map(repr, read)) == list(map(repr, whole))
    return len(starts)


@given(lines=LINES, every=st.integers(1, 4), mark=st.booleans(), is_packed=st.booleans())
@example(lines=['{"text": "a"}\n', "\ufeff{}\n"], every=1, mark=False, is_packed=False)
def test_lines_of_json_are_read_in_shards_as_in_the_whole(tmp_path_factory, lines, every, mark, is_packed):
    path = tmp_path_factory.mktemp("rows") / ("rows.jsonl.gz" if is_packed else "rows.jsonl")
    content = ("\ufeff" * mark + '{"text": "first"}\n' + "".join(lines)).encode("utf-8")
    path.write_bytes(gzip.compress(content) if is_packed else content)
    same_in_shards(path, every)


@given(lines=CELLS, every=st.integers(1, 4), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_csv_with_quotes_that_run_on_is_read_in_shards_as_in_the_whole(tmp_path_factory, lines, every, encoding):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_bytes(("text,label\nfirst,a\n" + "".join(lines)).encode(encoding))
    same_in_shards(path, every)


@given(sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=5), n=st.integers(1, 3))
def test_groups_of_rows_in_parquet_need_not_fit_shards(tmp_path_factory, sizes, n):
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    schema = arrow.schema([("n", arrow.int64()), ("at", arrow.timestamp("s"))])
    # A time beyond Python's writes the column's whole batch as text, so batches have to be parted alike.
    beyond = 10**12
    with parquet.ParquetWriter(path, schema) as writer:
        for size in sizes:
            times = [beyond if i == 7 and size % 2 else i for i in range(size)]
            writer.write_table(arrow.table({"n": list(range(size)), "at": times}, schema=schema), row_group_size=size)
    assert same_in_shards(path, n * BATCH_ROWS) == -(-sum(sizes) // (n * BATCH_ROWS))


def test_a_shard_in_the_middle_is_found_by_its_bytes(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([f"é {n}"] for n in range(3 * BATCH_ROWS))])
    last = starts_of(path, BATCH_ROWS)[-1]
    assert last.n_bytes is not None
    assert path.read_bytes()[last.n_bytes :].startswith(f"é {2 * BATCH_ROWS}\r\n".encode())
    shard = Shard(2, str(path), last, 2)
    assert [(row.number, row.record["text"]) for row in shard.rows()] == [(2049, "é 2048"), (2050, "é 2049")]


def test_kinds_that_are_read_as_a_whole_are_one_shard(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([{"text": "a"}] * 5000))
    assert starts_of(tmp_path / "rows.json", BATCH_ROWS) == [Start()]
    assert shards_module.ROWS_A_SHARD % BATCH_ROWS == 0
    assert Start() == starts_module.FIRST
