"""Pages as a browser shows them: Chromium without a window, a page at a time."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.pictures.pages import Shown
from labelwright.errors import LabelwrightError

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_S = 120


def find_browser() -> str:
    """Path of an installed Chromium or Chrome. Raises LabelwrightError where there is none."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise LabelwrightError(f"no browser to render pages with: install one of {', '.join(_NAMES)}")
    return found


def screenshot(browser: str, shown: Shown) -> bytes:
    """A PNG of the window that shows a page."""
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        page, image = Path(folder) / "page.html", Path(folder) / "page.png"
        page.write_text(shown.page, encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={folder}/profile", f"--window-size={shown.width},{shown.height}"]
        subprocess.run(
            [*command, f"--screenshot={image}", page.as_uri()],
            check=True,
            timeout=_PATIENCE_S,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return image.read_bytes()
