"""The OCR itself, on images drawn here: what is written is read, where it stands, however long or narrow the image."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from itertools import pairwise

import pytest
from PIL import Image, ImageDraw, ImageFont

pytest.importorskip("rapidocr")

from labelwright.pictures.kept import Reader
from labelwright.pictures.layout import Piece
from labelwright.pictures.ocr import Ocr, _cuts, _parted


@pytest.fixture(scope="module")
def ocr():
    return Ocr(n_threads=1)


def drawn(size, *written) -> Image.Image:
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for x, y, text in written:
        draw.text((x, y), text, fill="black", font=ImageFont.load_default(22))
    return image


def test_what_is_written_is_read_in_order_of_the_layout(ocr):
    page = ocr.read(drawn((420, 150), (20, 20, "Invoice 2041"), (20, 80, "Total"), (300, 80, "12.50")))
    assert page.text == "Invoice 2041\nTotal   12.50"
    total = next(one for one in page.pieces if one.text == "Total")
    assert abs(total.left - 20) < 10
    assert abs(total.top - 82) < 12
    assert page.pieces[0].score > 0.5


def test_what_is_kept_is_told_apart_by_the_packages_version(ocr, tmp_path):
    assert re.fullmatch(r"rapidocr-\d+\.\d+\.\d+-\d+", ocr.version)
    reader = Reader(ocr, tmp_path)
    content = io.BytesIO()
    drawn((200, 60), (20, 20, "hello")).save(content, "PNG")
    assert reader.page(content.getvalue()) == Reader(ocr, tmp_path).page(content.getvalue())
    assert list(tmp_path.glob("rapidocr-*/*/*.json"))


def test_a_long_page_is_read_in_parts_and_nothing_twice(ocr):
    """Lines all down a page of 2,600 pixels, one of them on the cut at 1,300."""
    ys = [40, 700, 1285, 1590, 1900, 2540]
    page = ocr.read(drawn((360, 2600), *((30, y, f"Line number {y}") for y in ys)))
    assert page.text.split("\n") == [f"Line number {y}" for y in ys]
    assert all(abs(one.top - y) < 14 for one, y in zip(sorted(page.pieces, key=lambda p: p.top), ys, strict=True))


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3), (60, 20)])
def test_where_nothing_is_written_there_are_no_pieces(ocr, size):
    assert ocr.read(Image.new("RGB", size, "white")).pieces == ()


def test_a_narrow_line_alone_is_read(ocr):
    assert ocr.read(drawn((330, 30), (4, 2, "the pool is green"))).text == "the pool is green"


def test_parts_cover_a_side_once():
    for side in (1, 2000, 2001, 3199, 3200, 20_000):
        cuts = _cuts(side)
        assert cuts[0][0] == 0
        assert cuts[-1][1] == side
        assert all(one[1] == other[0] for one, other in pairwise(cuts))
        assert all(stop - start <= 2000 for start, stop in cuts)


def word(text, left, right):
    return text, 1.0, [[left, 0], [right, 0], [right, 10], [left, 10]]


def test_words_far_apart_are_parted_and_keep_their_spelling():
    whole = Piece("Priority low, high", 0, 0, 200, 10)
    words = [word("Priority", 0, 50), word("low", 80, 100), word(",", 100, 104), word("high", 150, 200)]
    assert [one.text for one in _parted(whole, words)] == ["Priority", "low,", "high"]
    assert [(one.left, one.right) for one in _parted(whole, words)] == [(0, 50), (80, 104), (150, 200)]
    close = [word("Priority", 0, 50), word("low", 54, 100), word(",", 100, 104), word("high", 108, 200)]
    assert _parted(whole, close) == [whole]
    assert _parted(whole, [word("other", 0, 50), word("words", 90, 99)]) == [whole]


def test_importing_the_house_imports_neither_images_nor_ocr():
    code = (
        "import sys, labelwright.cli, labelwright.classifier, labelwright.pictures.rows, labelwright.pictures.sent\n"
        "print([one for one in ('PIL', 'onnxruntime', 'rapidocr', 'cv2') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
