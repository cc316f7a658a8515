"""Text and image as one text: an invertible form that no words can pass for, and images kept by their content."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shown import picture

from labelwright.data.choices import lettered, split_lettered
from labelwright.data.columns import TextColumns
from labelwright.data.records import Fault, Row
from labelwright.data.task import Example, Label, Task, family_keys
from labelwright.errors import DataError
from labelwright.pictures.content import keep_image, kept_bytes, opened_image
from labelwright.pictures.imaged import NO_IMAGE, image_line, image_of, imaged, split_imaged, words_of
from labelwright.pictures.rows import with_texts
from labelwright.prompt import Prompt, Template

DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
COLUMNS = TextColumns(("photo_shown", "question"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LABELWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "photo.png"
    picture("red", 1).save(path)
    return path


@given(st.text(), DIGESTS)
def test_an_imaged_text_comes_apart_again(words, digest):
    words = words.strip()
    assert split_imaged(imaged(words, digest)) == (digest, words)
    assert (image_of(imaged(words, digest)), words_of(imaged(words, digest))) == (digest, words)


@given(DIGESTS, DIGESTS)
def test_words_cannot_name_another_image(digest, other):
    forged = imaged(imaged("words", other), digest)
    assert image_of(forged) == digest
    rendered = Prompt("Say.", (Label("a"), Label("b")), template=Template(image="<i>"), images=True).render(forged)
    assert (rendered.image, rendered.user) == (digest, imaged("words", other))


def test_without_images_nobody_looks_for_the_line():
    text = imaged("words", NO_IMAGE)
    rendered = Prompt("Say.", (Label("a"), Label("b"))).render(text)
    assert (rendered.image, rendered.user) == ("", text)
    assert rendered.text.count(text) == 1


def test_a_text_without_its_image_is_one_clear_line():
    with pytest.raises(DataError, match="'the pool'… comes without its image: give the row's image with it"):
        split_imaged("the pool")


def test_choices_go_behind_the_image():
    text = lettered(imaged("What floats?", NO_IMAGE), ["stone", "wood"])
    assert split_imaged(text)[0] == NO_IMAGE
    assert split_lettered(text) == (imaged("What floats?", NO_IMAGE), ("stone", "wood"))


def test_one_image_is_one_family():
    one, other = (Example("1", imaged(words, NO_IMAGE), "a") for words in ("what is it", "how much"))
    assert set(family_keys(one)) & set(family_keys(other)) == {("image", NO_IMAGE)}
    assert not {key for key in family_keys(Example("1", "words", "a")) if key[0] == "image"}


def test_images_are_kept_by_their_content_for_their_owner_alone(cache, png):
    digest = keep_image(png.read_bytes())
    assert keep_image(png.read_bytes(), "once more") == digest
    assert kept_bytes(digest) == png.read_bytes()
    assert opened_image(digest).size == (40, 40)
    (kept,) = [path for path in cache.rglob("*") if path.is_file()]
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    kept.write_bytes(b"other")
    with pytest.raises(DataError, match="was changed where it is kept"):
        opened_image(digest)
    kept.unlink()
    with pytest.raises(DataError, match="is not kept on this machine; read the file of its row again"):
        opened_image(digest)


def test_what_is_no_image_is_not_kept(cache):
    with pytest.raises(DataError, match="of no known kind"):
        keep_image(b"no image")
    assert not cache.exists()


def test_the_line_is_made_of_the_image_and_never_taken_from_a_row(cache, png):
    """A file has a column of the line's name: what stands there is not believed."""
    row = Row(1, {"photo": png.name, "question": "q", "photo_shown": image_line("ab" * 32)})
    (read,) = with_texts([row], COLUMNS, "photo", png.parent)
    assert image_of(COLUMNS.read(read.record)) == keep_image(png.read_bytes())
    assert words_of(COLUMNS.read(read.record)) == "q"


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"photo": "", "question": "q"}, "the image is empty"),
        ({"question": "q"}, "no column 'photo' for image"),
        ({"text": image_line("ab" * 32)}, "no column 'photo' for image"),
        ({"photo": "../photo.png", "question": "q"}, "leads out of the folder"),
    ],
)
def test_a_row_whose_image_is_not_there_is_a_fault(cache, png, record, told):
    (folder := png.parent / "below").mkdir()
    columns = TextColumns(COLUMNS.names, or_whole=True)
    (fault,) = with_texts([Row(1, record)], columns, "photo", folder)
    assert isinstance(fault, Fault)
    assert told in fault.reason


def test_a_task_says_whether_its_model_looks():
    about = {"labels": (Label("a"), Label("b")), "image_column": "photo"}
    assert Task("t", "Say.", **about, text_columns=("photo_shown", "question")).shows_images
    assert not Task("t", "Say.", **about, text_columns=("question", "photo_text")).shows_images
    with pytest.raises(DataError, match="expected 'photo_text' among its texts"):
        Task("t", "Say.", **about, text_columns=("question", "photo_shown"))
