import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.expansion import Expansion
from labelwright.tree import OptionTree

END = 0


@st.composite
def problems(draw):
    """An option tree, and for every row a distribution over next tokens at every place of it."""
    words = st.lists(st.integers(1, 6), min_size=1, max_size=5).map(tuple)
    options = draw(st.lists(words, min_size=1, max_size=25, unique=True))
    tree = OptionTree.build([(*option, END) for option in options])
    n_rows = draw(st.integers(1, 4))
    seed, sharpness = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.3, 1.0, 3.0, 10.0]))
    # Eight tokens, of which the tree knows seven: probability leaks to what is no option, as in a real model.
    logits = sharpness * np.random.default_rng(seed).normal(size=(n_rows, 1 + tree.n_nodes, 8))
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return tree, log_probs[:, 1 + tree.edge_node, tree.edge_token]


def expand(tree, edges, mass, deep=False):
    rows = Expansion(tree, len(edges), mass)
    n_rounds = 0
    while (places := rows.wanted(deep)).any():
        assert not (places & rows.fed).any(), "a place is fed once"
        # What was not asked for must not be read.
        asked = places[:, 1 + tree.edge_node]
        rows.feed(places, np.where(asked, edges, 1e9))
        n_rounds += 1
        assert n_rounds < 100
    return rows


def softmax(scores):
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@given(problems(), st.booleans())
def test_all_paths_followed_gives_the_sum_along_each_path(problem, deep):
    tree, edges = problem
    rows = expand(tree, edges, 0.0, deep)
    np.testing.assert_allclose(rows.scores(), edges @ tree.incidence.T, atol=1e-9)
    assert (rows.unexpanded_share() == 0).all()


@settings(max_examples=300)
@given(problems(), st.sampled_from([1e-6, 1e-4, 1e-2, 0.2]), st.booleans())
def test_what_is_left_unexpanded_holds_at_most_the_stated_share(problem, mass, deep):
    tree, edges = problem
    rows = expand(tree, edges, mass, deep)
    assert (rows.unexpanded_share() <= mass * (1 + 1e-9)).all()
    whole, fast = edges @ tree.incidence.T, rows.scores()
    exact = rows.fed[:, 1 + tree.edge_node[tree.last_edge]]
    np.testing.assert_allclose(fast[exact], whole[exact], atol=1e-9)
    true_share = np.where(exact, 0.0, softmax(whole)).sum(axis=1)
    assert (true_share <= mass * (1 + 1e-9)).all()
    total_variation = 0.5 * np.abs(softmax(fast) - softmax(whole)).sum(axis=1)
    assert (total_variation <= mass * (1 + 1e-9)).all()


@given(problems(), st.sampled_from([1e-4, 1e-2]))
def test_a_round_feeds_nothing_that_could_have_been_spared(problem, mass):
    """Without any place of the last round the bound would not have held, whatever that place had turned out to be."""
    tree, edges = problem
    rows = Expansion(tree, len(edges), mass)
    while (places := rows.wanted()).any():
        open_ = rows.open()
        reach, known = rows._masses(open_)
        for i in range(len(edges)):
            if places[i].any():
                kept = reach[i][open_[i] & ~places[i]].sum() + reach[i][places[i]].min()
                assert kept > mass * (reach[i].sum() + known[i]) * (1 - 1e-9)
        rows.feed(places, edges)


def test_sharp_rows_are_cheaper_than_flat_ones():
    tree = OptionTree.build([(k, k + 1, END) for k in range(1, 40, 2)])
    rng = np.random.default_rng(0)
    counts = []
    for sharpness in (0.1, 8.0):
        edges = np.full((1, tree.n_edges), np.log(0.9))
        first = sharpness * rng.normal(size=20)
        edges[:, tree.first_edge] = first - np.log(np.exp(first).sum())
        counts.append(expand(tree, edges, 1e-2).fed.sum())
    assert counts == [41, pytest.approx(7, abs=6)]


def test_one_option_and_single_tokens_need_only_the_root():
    tree = OptionTree.build([(3,), (4,), (5,)])
    rows = Expansion(tree, 2)
    assert rows.wanted().tolist() == [[True], [True]]
    rows.feed(rows.wanted(), np.log([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]]))
    assert not rows.wanted().any()
    np.testing.assert_allclose(np.exp(rows.scores()), [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])


@pytest.mark.parametrize("n_rows", [0, 3])
def test_before_anything_is_fed_every_option_has_an_equal_part(n_rows):
    rows = Expansion(OptionTree.build([(1, END), (2, END)]), n_rows)
    np.testing.assert_allclose(np.exp(rows.scores()), np.full((n_rows, 2), 0.5))
