"""Files of strangers: what is opened, what is read, and what every fault says."""

from __future__ import annotations

import json
import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from labelwright.errors import BundleError, MissingExtraError
from labelwright.reading import check_tensors, opening, parse_json, read_json, read_object, read_tensors, require_file


def test_only_files_are_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert require_file(tmp_path / "file") == 3
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    kinds = {"pipe": "a pipe", "folder": "a folder", "link": "a link", "zero": "a link", "dangling": "a link"}
    for name, kind in kinds.items():
        with pytest.raises(BundleError, match=f"{name}: is {kind}; expected a file"):
            require_file(tmp_path / name)
    with pytest.raises(BundleError, match="absent: is missing"):
        require_file(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e999}', "1e999 is beyond every number"),
        ('{"a": 1' + "0" * 4300 + "}", "a number of 4301 digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('["\\ud800"]', "holds half a character"),
        (b'["\xff"]', "codec can't decode"),
    ],
)
def test_json_that_is_not_read(tmp_path, text, said):
    (tmp_path / "x.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BundleError, match=rf"x\.json: not UTF-8 JSON \(.*{said}.*\); copy the whole folder") as caught:
        read_json(tmp_path / "x.json")
    assert "\n" not in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(blacklist_categories=["Cs"])),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
)  # fmt: skip
def test_all_other_json_is_what_python_reads(value):
    data = json.dumps(value).encode(errors="replace")
    assert parse_json(data) == json.loads(data)


def test_another_kind_of_json_is_named(tmp_path):
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(BundleError, match=r"x\.json: expected a JSON object, found list"):
        read_object(tmp_path / "x.json")


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError(), RuntimeError("one\ntwo"), BaseException("panic")])
def test_whatever_a_library_raises_is_one_line(tmp_path, error):
    with (
        pytest.raises(BundleError, match=rf"{tmp_path}: not readable \({type(error).__name__}") as caught,
        opening(tmp_path),
    ):
        raise error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), MemoryError(), MissingExtraError("pip install")])
def test_what_is_no_damage_passes(tmp_path, error):
    with pytest.raises(type(error)), opening(tmp_path):
        raise error


def test_tensors_are_those_expected(tmp_path):
    path = tmp_path / "x.safetensors"
    good = {"a": np.ones((2, 3), np.float32), "b": np.zeros(2)}
    save_file(good, path)
    found = read_tensors(path, {"a": 2, "b": 1})
    assert all((found[name] == good[name]).all() for name in good)
    for wrong in (
        {"a": good["a"]},
        {**good, "c": good["b"]},
        {**good, "b": np.array([0.0, np.nan])},
        {**good, "b": np.zeros((2, 1))},
        {**good, "b": np.zeros(2, np.int64)},
    ):
        save_file(wrong, path)
        with pytest.raises(BundleError, match=r"x\.safetensors: "):
            read_tensors(path, {"a": 2, "b": 1})


@pytest.mark.parametrize("n_header", [0, 7, 2**20, 2**40, 2**63])
def test_headers_that_lie_are_refused_before_memory_is_asked_for(tmp_path, n_header):
    path = tmp_path / "x.safetensors"
    save_file({"a": np.ones(4, np.float32)}, path)
    path.write_bytes(struct.pack("<Q", n_header) + path.read_bytes()[8:])
    with pytest.raises(BundleError, match=r"x\.safetensors"):
        check_tensors(path)
