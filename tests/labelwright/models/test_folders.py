"""The packaged model's folder is made once, and again where its tokenizer was read wrongly."""

import json

import pytest

from labelwright.models import folders


@pytest.fixture
def made(monkeypatch, tmp_path):
    """How often a folder was made of the packaged file; the cache is empty."""
    times = []

    def convert(gguf, folder, name):
        times.append(1)
        write(folder, folders._SMOLLM2_END)

    monkeypatch.setattr(folders, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(folders, "fetch_packaged_file", lambda **_: tmp_path / "any.gguf")
    monkeypatch.setattr(folders, "_convert_gguf", convert)
    return times


def write(folder, end):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": end}))


def test_it_is_made_once(made, tmp_path):
    assert folders.model_folder("smollm2") == folders.model_folder("smollm2")
    assert len(made) == 1


@pytest.mark.parametrize("end", ["<|im_start|>", None, {"content": "<|im_end|>"}])
def test_one_whose_tokenizer_ends_answers_otherwise_is_made_again(made, tmp_path, end):
    folder = tmp_path / "smollm2-135m-instruct"
    write(folder, end)
    (folder / "old").write_text("")
    assert folders.model_folder("smollm2") == str(folder)
    assert len(made) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name]
    assert not (folder / "old").exists()
