"""A cell leads to an image beside its file, or holds one; it leads nowhere else."""

from __future__ import annotations

import base64

import pytest
from pictures import data_address, folder_of_images, png

from labelwright.errors import DataError
from labelwright.pictures.cells import image_bytes
from labelwright.pictures.opening import ImageLimits


@pytest.fixture
def folder(tmp_path):
    folder_of_images(tmp_path, {"data/shots/a.png": "a", "secret.png": "secret"})
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "data" / "near.png").symlink_to("shots/a.png")
    (tmp_path / "data" / "round.png").symlink_to("round.png")
    return tmp_path / "data"


def test_paths_are_relative_to_the_folder(folder):
    assert image_bytes("shots/a.png", folder) == image_bytes(" shots/../shots/a.png ", folder) == png("a")
    assert image_bytes(str(folder / "shots" / "a.png"), folder) == image_bytes("near.png", folder) == png("a")


@pytest.mark.parametrize("out", ["../secret.png", "shots/../../secret.png", "link.png", "/etc/passwd", "{}/secret.png"])
def test_no_path_leaves_the_folder(folder, out):
    with pytest.raises(DataError, match="leads out of the folder"):
        image_bytes(out.format(folder.parent), folder)


def test_code_may_name_any_file(folder):
    assert image_bytes(folder.parent / "secret.png", folder) == png("secret")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("round.png", "cannot be (reached|read)"),
        ("shots/none.png", "the image is missing"),
        ("shots", "is a folder|is no file"),
        ("a\0b", "NUL"),
        ("https://example.com/a.png", "a web address, and nothing is fetched"),
        ("file:///etc/passwd", "a web address, and nothing is fetched"),
        ("data:image/png,abc", "not in base64"),
        ("data:image/png;base64,ab*d", "is not base64"),
        (5, "the image is a int"),
    ],
)
def test_other_cells_are_refused_in_a_line(folder, cell, said):
    with pytest.raises(DataError, match=said) as raised:
        image_bytes(cell, folder)
    assert "\n" not in str(raised.value)


def test_an_image_may_come_with_its_row():
    sent = data_address(png("sent"))
    for cell in (sent, sent.replace("data:", "DATA:"), png("sent"), {"bytes": png("sent"), "path": "../x.png"}):
        assert image_bytes(cell, None) == png("sent")
    for cell in ("a.png", {"bytes": None, "path": "/etc/passwd"}):
        with pytest.raises(DataError, match="no files are read here: send it as data:"):
            image_bytes(cell, None)
    assert image_bytes(None, None) == image_bytes(" ", None) == image_bytes(float("nan"), None) == b""


def test_base64_is_counted_before_it_is_unpacked():
    sent = "data:;base64," + base64.b64encode(bytes(2000)).decode()
    with pytest.raises(DataError, match="more than 1000 bytes"):
        image_bytes(sent, None, ImageLimits(n_bytes=1000))
