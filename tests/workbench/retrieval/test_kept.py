"""Nothing is asked twice, whatever ends the process in between, and whatever befalls its files."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.retrieval import kept as rooms
from workbench.retrieval.kept import Kept


class Asked:
    """Says of a text how long it is, and its first character; may break down."""

    def __init__(self, breaks_at: int = 10**9) -> None:
        self.texts: list[str] = []
        self._breaks_at = breaks_at

    def __call__(self, texts: list[str]) -> np.ndarray:
        if len(self.texts) + len(texts) > self._breaks_at:
            raise RuntimeError("killed")
        self.texts += texts
        return np.array([[len(text), ord(text[0])] for text in texts], dtype=np.float32)


TEXTS = [f"{'abc'[i % 3]}{'x' * (i % 7)}" for i in range(40)]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch) -> None:
    monkeypatch.setattr(rooms, "CHUNK_TEXTS", 4)


def test_rows_come_in_order_and_equal_texts_are_asked_once(tmp_path):
    asked, seen = Asked(), []
    rows = Kept(tmp_path / "kept").rows(TEXTS, asked, lambda done, total: seen.append((done, total)))
    assert rows.tolist() == [[len(text), ord(text[0])] for text in TEXTS]
    n = len(set(TEXTS))
    assert len(asked.texts) == n
    assert (seen[0], seen[-1]) == ((0, n), (n, n))
    again = Asked()
    assert Kept(tmp_path / "kept").rows([*TEXTS[::-1]], again).tolist() == rows[::-1].tolist()
    assert again.texts == []


def test_a_kill_loses_at_most_what_was_being_asked(tmp_path):
    first, second = Asked(breaks_at=10), Asked()
    with pytest.raises(RuntimeError):
        Kept(tmp_path).rows(TEXTS, first)
    assert len(first.texts) == 8
    Kept(tmp_path).rows(TEXTS, second)
    assert not set(first.texts) & set(second.texts)


def test_new_texts_alone_are_asked_and_a_damaged_file_costs_its_own_texts(tmp_path):
    Kept(tmp_path).rows(TEXTS, Asked())
    more = Asked()
    Kept(tmp_path).rows([*TEXTS, "new"], more)
    assert more.texts == ["new"]
    victim = sorted(tmp_path.glob("*.safetensors"))[0]
    victim.write_bytes(victim.read_bytes()[:20])
    again = Asked()
    rows = Kept(tmp_path).rows(TEXTS, again)
    assert 0 < len(again.texts) <= 4
    assert rows.tolist() == [[len(text), ord(text[0])] for text in TEXTS]
