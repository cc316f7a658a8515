"""No test reads or writes what other runs kept, and none opens models unless it is about them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def kept_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("LABELWRIGHT_OCR_CACHE", str(tmp_path / "kept"))
