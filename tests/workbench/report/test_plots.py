from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from comparison_fakes import CANDIDATES, draw_candidates, homeowner_rows, make_board, make_report, many_labels_rows
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from labelwright.data.task import Example
from labelwright.statistics.intervals import Interval
from workbench.compare.candidate import Candidate
from workbench.report.plots.figures import figures, save, svg
from workbench.report.plots.label_places import place_names, spread_out
from workbench.report.plots.style import plain
from workbench.report.report import Report

NAMES = (
    "accuracy", "cost", "learning-curve", "confusion-shipped", "confusion", "reliability", "risk-coverage", "curves",
)  # fmt: skip


def report_of(candidates: Sequence[Candidate], rows: Sequence[Example], labels: Sequence[str], **changed) -> Report:
    return make_report(make_board(candidates, rows, labels), rows, labels, **{"curves": {}, **changed})


@pytest.fixture(scope="module")
def report() -> Report:
    rows = homeowner_rows(180)
    labels = sorted({row.label for row in rows})
    return make_report(make_board(draw_candidates(rows, labels), rows, labels), rows, labels)


@pytest.fixture(scope="module")
def drawn(report: Report) -> dict[str, Figure]:
    return figures(report)


def picture(report: Report, name: str) -> Figure:
    """One of a report's pictures; the others are not drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.report.plots.figures.pictures", lambda report: [name])
        return figures(report)[name]


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_every_picture_is_drawn_and_written(drawn: dict[str, Figure], tmp_path: Path) -> None:
    (tmp_path / "of-an-earlier-comparison.png").write_bytes(b"old")
    paths = save(drawn, tmp_path)
    assert [path.stem for path in paths] == list(NAMES)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_a_candidate_that_failed_is_in_no_picture(drawn: dict[str, Figure], report: Report) -> None:
    ticks = [label.get_text() for label in drawn["accuracy"].axes[0].get_yticklabels()]
    assert [tick.split(" (")[0] for tick in ticks] == [entry.name for entry in report.scored]
    assert len(ticks) == len(CANDIDATES) - 2


def test_best_and_the_one_to_ship_are_named_so(drawn: dict[str, Figure], report: Report) -> None:
    verdict = report.verdict
    for name in ("accuracy", "cost"):
        axes = drawn[name].axes[0]
        shown = [*texts_of(drawn[name]), *(label.get_text() for label in axes.get_yticklabels())]
        assert f"{verdict.best} (best)" in shown
        assert f"{verdict.ship} (to ship)" in shown


def test_kinds_differ_in_colour_and_in_marker(drawn: dict[str, Figure]) -> None:
    handles = drawn["accuracy"].legends[0].legend_handles
    assert len({handle.get_color() for handle in handles}) == len({handle.get_marker() for handle in handles}) == 3


@pytest.mark.parametrize("n_labels", [18, 77])
def test_no_name_lies_on_another(n_labels: int) -> None:
    rows = homeowner_rows(180) if n_labels == 18 else many_labels_rows(77, 770)
    labels = sorted({row.label for row in rows})
    figure = picture(report_of(draw_candidates(rows, labels), rows, labels), "cost")
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in figure.axes[0].texts}
    assert len(boxes) == len(CANDIDATES) - 2
    frame = figure.axes[0].get_window_extent(renderer).padded(1)
    for (a, box), (b, other) in combinations(boxes.items(), 2):
        assert not box.overlaps(other), (a, b)
    for name, box in boxes.items():
        assert frame.x0 <= box.x0, name
        assert box.x1 <= frame.x1, name


def test_names_of_candidates_on_one_spot_are_all_placed() -> None:
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    place_names(axes, [(5, 9.9)] * 20, [f"candidate number {i}" for i in range(20)], [False] * 20)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_spread_out_keeps_order_gap_and_limits() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        values = random.random(int(random.integers(1, 30))) ** 4
        gap = 0.02
        placed = np.array(spread_out(values.tolist(), gap, 0.0, 1.0))
        order = np.argsort(values, kind="stable")
        assert (np.diff(placed[order]) >= gap - 1e-6).all()
        assert placed.min() >= -1e-6
        assert placed.max() <= 1 + 1e-6
    assert spread_out([0.1, 0.5, 0.9], 0.1, 0, 1) == [0.1, 0.5, 0.9]
    assert spread_out([0.5, 0.5, 0.5], 1.0, 0, 1) == [0.0, 0.5, 1.0]


def test_learning_curves_go_from_one_row_to_all_and_zero_shot_candidates_are_flat(drawn: dict[str, Figure]) -> None:
    axes = drawn["learning-curve"].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4", "8", "16", "32", "all"]
    assert axes.get_xscale() == "log"
    shown = texts_of(drawn["learning-curve"])
    for name in ("minilm-nearest-name", "entailment", "untuned", "free"):
        assert f"{name}, zero-shot" in shown
    assert "majority, zero-shot" not in shown


def test_without_curves_or_times_there_is_no_such_picture(report: Report) -> None:
    bare = tuple(replace(entry, curve=(), cost={"ms_p50": None}) for entry in report.candidates)
    assert list(figures(replace(report, candidates=bare, curves={}))) == [
        name for name in NAMES if name not in ("cost", "learning-curve", "curves")
    ]


def test_one_candidate_is_enough() -> None:
    rows = homeowner_rows(36)
    labels = sorted({row.label for row in rows})
    drawn = figures(report_of(draw_candidates(rows, labels, CANDIDATES[1:2]), rows, labels))
    assert {"accuracy", "cost", "confusion", "reliability", "risk-coverage"} <= set(drawn)
    assert "confusion-shipped" not in drawn


def test_free_text_alone_has_a_column_for_no_label_and_no_confidence() -> None:
    rows = homeowner_rows(36)
    labels = sorted({row.label for row in rows})
    free = next(one for one in CANDIDATES if one[1] == "free")
    drawn = figures(report_of(draw_candidates(rows, labels, [free]), rows, labels))
    answers = [label.get_text() for label in drawn["confusion"].axes[0].get_xticklabels()]
    assert answers == [*labels, "no label"]
    assert "reliability" not in drawn
    assert "risk-coverage" not in drawn


@pytest.mark.parametrize("n_labels", [18, 77])
def test_a_single_mistake_is_seen_in_the_confusion(n_labels: int) -> None:
    labels = [f"label {i}" for i in range(n_labels)]
    rows = many_labels_rows(n_labels, 10 * n_labels)
    rows = [replace(row, label=labels[i % n_labels]) for i, row in enumerate(rows)]
    (candidate,) = draw_candidates(rows, labels, CANDIDATES[1:2])
    gold = np.array([labels.index(row.label) for row in rows])
    probs = np.eye(n_labels)[gold]
    probs[0] = np.eye(n_labels)[3]
    figure = picture(report_of([replace(candidate, probs=probs, raw=probs)], rows, labels), "confusion")
    image = figure.axes[0].get_images()[0].get_array()
    assert (image[0, 5] == 1).all()
    red, green, blue = (float(one) for one in image[0, 3])
    assert red > 0.8
    assert max(green, blue) < 0.8


def test_a_label_is_text_and_no_formula() -> None:
    labels = ["costs $5 or $10", r"$\frac{", "<script>alert(1)</script>", "tab\there", "長い", "x" * 200]
    rows = [replace(row, label=labels[i % 6]) for i, row in enumerate(homeowner_rows(60))]
    drawn = picture(report_of(draw_candidates(rows, labels, CANDIDATES[:4]), rows, labels), "confusion")
    text = svg(drawn, "confusion")
    assert "costs $5 or $10" in text
    assert r"$\frac{" in text
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "x" * 40 not in text


def test_svg_is_the_same_every_time_and_asks_for_nothing() -> None:
    rows = homeowner_rows(36)
    labels = sorted({row.label for row in rows})
    report = make_report(make_board(draw_candidates(rows, labels, CANDIDATES[1:5]), rows, labels), rows, labels)
    once, again = ({name: svg(one, name) for name, one in figures(report).items()} for _ in range(2))
    assert once == again
    for name, text in once.items():
        assert text.startswith("<svg")
        assert "<metadata" not in text
        assert "<style" not in text
        assert f'id="{name}-' in text


def test_intervals_at_the_ends_of_the_scale_are_drawn(report: Report) -> None:
    ends = (Interval(1.0, 1.0, 1.0), Interval(0.0, 0.0, 0.0))
    entries = tuple(
        replace(entry, test={**entry.test, "accuracy": ends[i % 2]}) if entry.test else entry
        for i, entry in enumerate(report.candidates)
    )
    for name in ("accuracy", "cost", "learning-curve"):
        picture(replace(report, candidates=entries), name).draw_without_rendering()


def test_names_are_cut_where_they_are_long() -> None:
    assert len(plain("x" * 100)) == 32
    assert plain("a\x1bb\nc") == "a b c"
