"""Our own files: whole or not at all, and hashes that depend on what is in them and on nothing else."""

import json
from pathlib import Path

import pytest

from labelwright.files import folder_digest, read_json, replacing, short_hash, write_json, write_text


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_json(path, {"labels": ["ä", 1]})
    assert read_json(path) == {"labels": ["ä", 1]}
    write_text(path, "{}")
    assert (path.read_text(), [one.name for one in tmp_path.iterdir()]) == ("{}", ["state.json"])


def test_what_fails_half_way_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    path.write_text("old")

    def stop_half_way() -> None:
        with replacing(path) as part:
            part.write_text("half")
            assert part.suffix == ".npz"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert (path.read_text(), [one.name for one in tmp_path.iterdir()]) == ("old", ["scores.npz"])


def test_what_json_cannot_hold_replaces_nothing(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", object())
    assert json.loads((tmp_path / "a.json").read_text()) == 1


def test_a_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert short_hash({"a": 1, "b": [2]}) == short_hash({"b": [2], "a": 1})
    assert short_hash({"a": 1}) != short_hash({"a": 2})


def test_a_folders_digest_is_its_files_wherever_it_lies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "inner").mkdir(parents=True)
        write_text(tmp_path / name / "inner" / "a.txt", "a")
    assert folder_digest(tmp_path / "one") == folder_digest(tmp_path / "two")
    (tmp_path / "two" / "inner" / "a.txt").rename(tmp_path / "two" / "inner" / "b.txt")
    assert folder_digest(tmp_path / "one") != folder_digest(tmp_path / "two")
