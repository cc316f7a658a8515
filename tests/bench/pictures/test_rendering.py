"""A page is shown by a browser, where there is one."""

from __future__ import annotations

import pytest

from bench.pictures import rendering
from bench.pictures.pages import Shown
from labelwright.errors import LabelwrightError
from labelwright.pictures.opening import open_image


def test_without_a_browser_it_is_said(monkeypatch) -> None:
    monkeypatch.setattr(rendering.shutil, "which", lambda name: None)
    with pytest.raises(LabelwrightError, match="no browser to render pages with"):
        rendering.find_browser()


def test_a_page_is_shown_in_its_window() -> None:
    try:
        browser = rendering.find_browser()
    except LabelwrightError as error:
        pytest.skip(str(error))
    image = open_image(rendering.screenshot(browser, Shown("k", "<body style='background:#f00'>", {}, 320, 200)))
    assert (image.size, image.getpixel((160, 100))) == ((320, 200), (255, 0, 0))
