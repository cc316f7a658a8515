"""Rows in batches of so many tokens."""

from labelwright.engines.passes.groups import cut


def test_a_limit_is_asked_once_a_batch_and_never_for_a_single_row():
    asked = []

    def limit():
        asked.append(1)
        return 5 if len(asked) == 1 else 3

    assert [*cut([7], limit)] == [[0]]
    assert not asked
    assert [*cut([2, 2, 2, 2, 2, 2], limit)] == [[0, 1], [2], [3], [4], [5]]
    assert len(asked) == 4
