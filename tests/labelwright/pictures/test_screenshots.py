"""Screenshots that a real browser renders, read by the real OCR, to JSON by a schema: all that is on them comes out.

Case and spaces of texts aside, as OCR now and then takes a large O for a small one.
"""

from __future__ import annotations

import random

import pytest
from browser import Browser, BrowserError, find_browser

pytest.importorskip("rapidocr")

from bench.pictures import pages
from bench.pictures.fields import RIGHT, outcomes
from labelwright.pictures.kept import Reader
from labelwright.pictures.ocr import Ocr
from labelwright.pictures.typed.extraction import extract
from labelwright.pictures.typed.schema import fields_of

TOPICS = ["pool", "fence"]


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """What is written on a page, as OCR sees it in a window."""
    executable = find_browser()
    if executable is None:
        pytest.skip("no Chromium or Chrome is installed")
    folder = tmp_path_factory.mktemp("shots")
    try:
        with Browser(executable, folder / "profile") as browser:
            reader = Reader(Ocr(n_threads=1))

            def see(shown: pages.Shown):
                (folder / "page.html").write_text(shown.page, encoding="utf-8")
                browser.open(folder / "page.html", shown.width, shown.height)
                browser.screenshot(folder / "page.png")
                return reader.page((folder / "page.png").read_bytes())

            yield see
    except BrowserError as error:
        pytest.skip(str(error))


def all_right(found, shown: pages.Shown) -> bool:
    return {outcome for _, outcome in outcomes(found, shown.values)} == {RIGHT}


def test_a_list_of_headlines(read):
    shown = pages.headlines(random.Random(5))
    assert all_right(extract(read(shown), fields_of(pages.HEADLINES)).values, shown)


def test_a_receipt(read):
    shown = pages.receipt(random.Random(5))
    assert all_right(extract(read(shown), fields_of(pages.RECEIPT)).values, shown)


def test_a_form_whose_question_a_classifier_answers(read):
    question = "The water in our pool has gone green over the weekend, and the pump makes a grinding noise. What now?"
    shown, asked = pages.form(random.Random(5), question, "pool"), []

    def classify(text: str) -> str:
        asked.append(text)
        return "pool"

    found = extract(read(shown), fields_of(pages.form_schema(TOPICS)), {"topic": classify})
    assert all_right(found.values, shown)
    assert " ".join(asked[0].split()) == question
