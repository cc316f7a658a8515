"""API keys: which are accepted, and that none of them can be read off anything."""

from __future__ import annotations

import hmac

import pytest

from labelwright.errors import RecipeError
from labelwright.serve import keys
from labelwright.serve.keys import VARIABLE, Keys

ONE, OTHER = "first-key-of-these-tests", "other-key-of-these-tests"


def test_each_key_of_the_environment_is_accepted_and_nothing_else(monkeypatch):
    monkeypatch.setenv(VARIABLE, f"{ONE}, {OTHER}")
    found = Keys.from_environment()
    assert found
    assert found.accept(f"Bearer {ONE}")
    assert found.accept(f"bearer  {OTHER}")
    for given in ("", "Bearer ", f"Basic {ONE}", ONE, f"Bearer {ONE}x", f"Bearer {ONE[:-1]}", f"Bearer {ONE},{OTHER}"):
        assert not found.accept(given)


def test_without_keys_there_are_none(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert not Keys.from_environment()


def test_every_key_is_compared_whichever_is_right(monkeypatch):
    """Or the time of an answer tells which."""
    compared = []
    monkeypatch.setattr(keys.hmac, "compare_digest", lambda *both: compared.append(both) or real(*both))
    real = hmac.compare_digest.__wrapped__ if hasattr(hmac.compare_digest, "__wrapped__") else (lambda a, b: a == b)
    for given in (ONE, OTHER, "neither"):
        compared.clear()
        Keys([ONE, OTHER]).accept(f"Bearer {given}")
        assert len(compared) == 2
        assert all(len(a) == len(b) == 32 for a, b in compared)


def test_a_key_is_kept_nowhere():
    found = Keys([ONE])
    assert ONE not in repr(vars(found))


def test_a_key_that_can_be_guessed_is_refused_without_being_shown():
    with pytest.raises(RecipeError) as refused:
        Keys(["short-key"])
    assert "short-key" not in str(refused.value)
