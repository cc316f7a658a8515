import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.engines.options.expansion import Expansion
from labelwright.engines.options.tree import OptionTree
from labelwright.errors import ModelError
from labelwright.statistics.calibration import UNCALIBRATED, Calibration

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


@st.composite
def calibrated_problems(draw):
    """A problem, some of whose tokens may be impossible, and a calibration of its options."""
    tree, edges = draw(problems())
    n, seed = len(tree.options), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    edges = np.where(rng.random(edges.shape) < draw(st.sampled_from([0, 0, 0.1, 0.9])), -np.inf, edges)
    width = draw(st.sampled_from([0.0, 0.5, 3.0]))
    bias = tuple(rng.uniform(-width, width, n).tolist()) if width else ()
    temperature = draw(st.floats(0.2, 5) | st.sampled_from([0.2, 1.0, 1.0 + 1e-9, 2.34, 5.0]))
    return tree, edges, Calibration(temperature, bias)


def expand(tree, edges, mass, deep=False, calibration=UNCALIBRATED):
    rows = Expansion(tree, len(edges), mass, calibration)
    n_rounds = 0
    while (places := rows.wanted(deep)).any():
        assert not (places & rows.fed).any(), "a place is fed once"
        # What was not asked for must not be read.
        asked = places[:, 1 + tree.edge_node]
        rows.feed(places, np.where(asked, edges, 1e9))
        n_rounds += 1
        assert n_rounds < 100
    return rows


def unexpanded_share(rows):
    """(n_rows,): the most that options behind open places can hold of the calibrated probability."""
    mass, known = rows._masses(rows.open())
    unknown = mass.sum(axis=1)
    return unknown / np.maximum(unknown + known, np.finfo(np.float64).tiny)


def softmax(scores):
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@given(problems(), st.booleans())
def test_all_paths_followed_gives_the_sum_along_each_path(problem, deep):
    tree, edges = problem
    rows = expand(tree, edges, 0.0, deep)
    np.testing.assert_allclose(rows.scores(), edges @ tree.incidence.T, atol=1e-9)
    assert (unexpanded_share(rows) == 0).all()


@settings(max_examples=300)
@given(problems(), st.sampled_from([1e-6, 1e-4, 1e-2, 0.2]), st.booleans())
def test_what_is_left_unexpanded_holds_at_most_the_stated_share(problem, mass, deep):
    tree, edges = problem
    rows = expand(tree, edges, mass, deep)
    assert (unexpanded_share(rows) <= mass * (1 + 1e-9)).all()
    whole, fast = edges @ tree.incidence.T, rows.scores()
    exact = rows.fed[:, 1 + tree.edge_node[tree.last_edge]]
    np.testing.assert_allclose(fast[exact], whole[exact], atol=1e-9)
    true_share = np.where(exact, 0.0, softmax(whole)).sum(axis=1)
    assert (true_share <= mass * (1 + 1e-9)).all()
    total_variation = 0.5 * np.abs(softmax(fast) - softmax(whole)).sum(axis=1)
    assert (total_variation <= mass * (1 + 1e-9)).all()


@settings(max_examples=400)
@given(calibrated_problems(), st.sampled_from([1e-6, 1e-4, 1e-2, 0.2]), st.booleans())
def test_the_bound_holds_for_the_probabilities_that_decide(problem, mass, deep):
    tree, edges, calibration = problem
    rows = expand(tree, edges, mass, deep, calibration)
    assert (unexpanded_share(rows) <= mass * (1 + 1e-9)).all()
    scores, whole = rows.scores(), expand(tree, edges, 0.0).scores()
    assert not np.isnan(scores).any()
    fast, full = calibration.apply(scores), calibration.apply(whole)
    assert (np.isfinite(whole).any(axis=1) == (full.sum(axis=1) > 0.5)).all(), "no possible option, no answer"
    assert (0.5 * np.abs(fast - full).sum(axis=1) <= mass * (1 + 1e-9) + 1e-12).all()


@pytest.mark.parametrize(
    "calibration",
    [
        None,
        Calibration(rotations=True),
        Calibration(np.inf),
        Calibration(1e-320),
        Calibration(2.0, (0.0, np.inf) + (0.0,) * 18),
    ],
    ids=["not known", "means over rotations", "infinite", "as good as 0", "infinite bias"],
)
def test_where_no_bound_holds_everything_is_followed(calibration):
    tree = OptionTree.build([(k, k + 1, END) for k in range(1, 40, 2)])
    edges = np.random.default_rng(0).normal(-9, 5, (3, tree.n_edges)).clip(max=0)
    edges[:, tree.first_edge[0]] = 0.0  # sure of one option
    assert expand(tree, edges, 1e-4).fed.sum() < expand(tree, edges, 1e-4, False, calibration).fed.sum()
    np.testing.assert_allclose(expand(tree, edges, 1e-4, False, calibration).scores(), edges @ tree.incidence.T)


@pytest.mark.parametrize("temperature", [1e-300, 1e-3, 1e3, 1e300])
def test_any_temperature_ends_and_gives_numbers(temperature):
    tree = OptionTree.build([(k, k + 1, END) for k in range(1, 40, 2)])
    edges = np.random.default_rng(0).normal(-9, 5, (3, tree.n_edges)).clip(max=0)
    calibration = Calibration(temperature, tuple(np.linspace(-3, 3, 20).tolist()))
    with np.errstate(over="ignore"):
        fast = calibration.apply(expand(tree, edges, 1e-4, False, calibration).scores())
        full = calibration.apply(edges @ tree.incidence.T)
    assert (0.5 * np.abs(fast - full).sum(axis=1) <= 1e-4).all()


def test_what_is_negligible_before_a_temperature_may_not_be_after_it():
    """The case that the bound is for: 17 paths with 5e-6 each, of which T = 2.34 makes a tenth of the answer."""
    tree = OptionTree.build([(k, k + 1, END) for k in range(1, 36, 2)])
    edges = np.full((1, tree.n_edges), np.log(0.9))
    edges[:, tree.first_edge] = np.log([1 - 17 * 5e-6] + [5e-6] * 17)
    # Each of the others is worth a hundredth of what its first token promises.
    edges[:, tree.last_edge[1:]] = np.log(0.01)
    calibration = Calibration(2.34)
    full = calibration.apply(edges @ tree.incidence.T)
    before = calibration.apply(expand(tree, edges, 1e-4).scores())
    after = calibration.apply(expand(tree, edges, 1e-4, False, calibration).scores())
    assert 0.5 * np.abs(before - full).sum() > 0.02
    assert 0.5 * np.abs(after - full).sum() <= 1e-4


@pytest.mark.parametrize("bias", [(), (0.0, *np.linspace(-1, 1, 20).tolist())], ids=["plain", "biased"])
@pytest.mark.parametrize("temperature", [1.3, 2.0, 4.0])
def test_options_that_share_a_path_can_outweigh_it_together(temperature, bias):
    """20 options behind one token of probability m weigh up to 20^(1 - 1/T) m^(1/T) after T, and equal parts do."""
    tree = OptionTree.build([(1, END), *((9, k, END) for k in range(20))])
    calibration, mass = Calibration(temperature, bias), 1e-2
    edges = np.zeros((1, tree.n_edges))
    # By m^(1/T) times the heaviest one alone it could stay unexpanded.
    edges[0, tree.first_edge[1]] = temperature * (np.log(0.9 * mass) - max(bias, default=0.0))
    for truth in (np.log(np.full(20, 0.05)), np.where(np.arange(20) == 19, 0.0, -np.inf)):
        edges[0, tree.last_edge[1:]] = 0.0
        edges[0, [np.flatnonzero(path)[1] for path in tree.incidence[1:]]] = truth
        fast = calibration.apply(expand(tree, edges, mass, False, calibration).scores())
        full = calibration.apply(expand(tree, edges, 0.0).scores())
        assert 0.5 * np.abs(fast - full).sum() <= mass


def test_what_is_no_probability_is_refused():
    tree = OptionTree.build([(1, END), (2, END)])
    for wrong in (np.nan, np.inf):
        rows = Expansion(tree, 1)
        with pytest.raises(ModelError, match="not numbers"):
            rows.feed(rows.wanted(), np.array([[-1.0, -1.0, wrong, -1.0]]))
    with pytest.raises(ValueError, match="a bias for 3 options, not for 2"):
        Expansion(tree, 1, calibration=Calibration(1.0, (0.0, 1.0, 2.0)))


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
