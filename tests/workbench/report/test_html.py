from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, BrowserError, find_browser
from comparison_fakes import (
    CANDIDATES,
    draw_candidates,
    homeowner_rows,
    make_board,
    make_report,
    many_labels_rows,
)

from labelwright.data.task import Example
from workbench.compare.board import Leaderboard
from workbench.compare.leaderboard import build
from workbench.report.html import html
from workbench.report.plots.captions import pictures
from workbench.report.plots.figures import figures
from workbench.report.report import Report
from workbench.report.verdict_words import words

SECTIONS = (
    "leaderboard", "cost", "learning", "seeds", "tests", "labels", "mistakes", "suspects", "confidence", "stages",
    "failed", "made", "limits",
)  # fmt: skip
EVIL = (
    "<script>window.forged = 1</script>",
    "{{7*7}} {% for x in y %}",
    "\"onload='window.forged=2' <img src=x onerror=window.forged=3>",
    "</td></table></svg><style>*{display:none}</style>",
    "&lt;b&gt; &amp; ]]> --> <!-- $x$ javascript:alert(1)",
    "\ud800 half a pair, \x00 nothing, \u202e turned",
    "w" * 400,
    "http://example.org/pixel.png",
)
_VOID = ("meta", "br", "img", "link", "input", "hr")


class Page(HTMLParser):
    """A page's elements with their attributes, its visible text, and whether its tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> is out of place"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def page_of(report: Report) -> str:
    return html(report, figures(report))


@cache
def made(n_labels: int = 18) -> tuple[Leaderboard, list[Example], list[str]]:
    rows = homeowner_rows(180) if n_labels == 18 else many_labels_rows(n_labels, 40 * n_labels)
    labels = sorted({row.label for row in rows})
    return make_board(draw_candidates(rows, labels), rows, labels), rows, labels


@cache
def page(n_labels: int = 18) -> str:
    return page_of(make_report(*made(n_labels)))


@cache
def forged() -> str:
    """A page whose rows, labels and messages all try to be more than text."""
    labels = [*EVIL, "pool"]
    rows = [
        replace(row, text=EVIL[i % len(EVIL)], label=labels[i % len(labels)], id=EVIL[(i + 1) % len(EVIL)])
        for i, row in enumerate(homeowner_rows(90))
    ]
    candidates = draw_candidates(rows, labels)
    candidates = [
        replace(candidate, failed=EVIL[0] + EVIL[1]) if candidate.failed else replace(candidate, about=EVIL[2])
        for candidate in candidates
    ]
    decided = {EVIL[0]: EVIL[1], "instructions": "\n".join(EVIL), "deep": {"a": [EVIL[0], {"b": EVIL[2]}]}}
    report = make_report(make_board(candidates, rows, labels), rows, labels)
    stages = tuple(replace(stage, decided=decided, folder=EVIL[3]) for stage in report.stages)
    curves = {EVIL[0]: {EVIL[2]: ((0, 0.1), (1, 0.2))}}
    report = replace(
        report, stages=stages, curves=curves, command=EVIL[0], machine=EVIL[0], recipe=EVIL[0], prompt="\n".join(EVIL)
    )
    return page_of(report)


@pytest.mark.parametrize("text", [page, lambda: page(77), forged], ids=["18 labels", "77 labels", "forged"])
def test_it_is_one_balanced_document_with_everything_in_order(text) -> None:
    found = Page(text())
    assert text().startswith("<!DOCTYPE html>")
    assert found.all("html") == [{"lang": "en"}]
    assert [section["id"] for section in found.all("section") if section["id"] != "prompt"] == list(SECTIONS)
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in found.all("a"):
        assert link["href"].removeprefix("#") in ids


@pytest.mark.parametrize("text", [page, lambda: page(77), forged], ids=["18 labels", "77 labels", "forged"])
def test_it_asks_for_nothing_and_runs_nothing(text) -> None:
    found = Page(text())
    assert not {"script", "link", "iframe", "object", "embed", "form", "base", "img"} & {
        tag for tag, _ in found.elements
    }
    for tag, attributes in found.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "xlink:href", "src", "srcset", "action"):
                assert (value or "").startswith(("#", "data:image/png;base64,")), (tag, value)
            elif "url(" in (value or "") and name in ("style", "clip-path", "fill", "filter", "mask"):
                assert re.findall(r"url\((.)", value or "") == ["#"] * (value or "").count("url("), (tag, value)
    (policy,) = (one["content"] for one in found.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "script-src 'none'" in policy
    style = re.search(r"<style>(.*?)</style>", text(), re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert text().count("<style") == 1


def test_what_rows_and_labels_hold_is_shown_as_it_is() -> None:
    shown = Page(forged()).text
    for one in (*EVIL[:5], EVIL[7]):
        assert " ".join(one.split()) in shown, one
    forged().encode("utf-8")
    assert "\x00" not in forged()


def test_tables_have_headers_that_say_what_they_head() -> None:
    found = Page(page())
    assert {one.get("scope") for one in found.all("th")} == {"col", "row"}
    regions = [one for one in found.all("div") if one.get("class") == "table"]
    assert len(regions) == len(found.all("table"))
    for one in regions:
        assert one["role"] == "region"
        assert one["tabindex"] == "0"
        assert one["aria-label"]


def test_every_picture_is_there_and_told_in_words() -> None:
    plots = [one for one in Page(page()).all("div") if "plot" in (one.get("class") or "").split()]
    assert len(plots) == len(pictures(make_report(*made()))) == 8
    assert all(one["role"] == "img" and len(one["aria-label"] or "") > 40 for one in plots)


def test_the_numbers_are_the_boards() -> None:
    board, _, _ = made()
    text = page()
    for entry in board.candidates:
        row = re.search(rf'<span class="name">{re.escape(entry.name)}</span>.*?</tr>', text, re.DOTALL)
        assert row
        if entry.failed:
            assert f"left out: {entry.failed}" in row[0]
        else:
            for one in entry.test["accuracy"]:
                assert f"{100 * one:.1f}" in row[0], entry.name


def test_the_verdict_comes_first_and_the_one_to_ship_is_marked() -> None:
    board, _, _ = made()
    shown = Page(page()).text
    begin = shown.index(f"{board.verdict.best} wins: right on")
    assert (
        begin
        < shown.index(f"Ship {board.verdict.ship}, as good as {board.verdict.best} within 2 points, unless")
        < shown.index("Leaderboard")
    )
    assert f'<span class="name">{board.verdict.ship}</span> <span class="badge to-ship">' in page()
    for standing, names in (("as good", board.verdict.as_good), ("not told apart", board.verdict.not_told_apart)):
        assert names
        for name in names:
            assert re.search(rf">{re.escape(name)}</span>[^\n]*{standing}</span>", page()), name


def test_the_surest_mistakes_are_shown_with_their_text() -> None:
    board, rows, labels = made(77)
    (probs,) = (one.probs for one in draw_candidates(rows, labels) if one.name == board.verdict.ship)
    gold = np.array([labels.index(row.label) for row in rows])
    wrong = np.flatnonzero(probs.argmax(axis=1) != gold)
    surest = wrong[np.argsort(-probs.max(axis=1)[wrong], kind="stable")]
    shown = Page(page(77)).text
    assert f"{board.verdict.ship}, the 20 surest of {len(wrong)} wrong answers" in shown
    for i in surest[:20]:
        assert rows[i].text in shown
    first = [rows[surest[0]].label, labels[probs[surest[0]].argmax()], f"{100 * probs[surest[0]].max():.1f}"]
    table = page(77)[page(77).index('<section id="mistakes">') :]
    assert re.findall(r"<(?:bdi|td data-name=.confidence[^>]*)>(.*?)<", table)[:3] == first


def test_it_shows_what_the_real_statistics_find() -> None:
    rows = homeowner_rows(90)
    labels = sorted({row.label for row in rows})
    board = build(draw_candidates(rows, labels), rows, labels, 100, 0)
    shown = Page(html(make_report(board, rows, labels), {})).text
    assert words(board).winner in shown
    assert f"Ship {board.verdict.ship}" in shown


def test_a_page_of_many_candidates_and_labels_is_small() -> None:
    assert len(page().encode()) < 1_000_000
    assert len(page(77).encode()) < 3_000_000


@pytest.mark.parametrize("kind", ["baseline", "llm", "free"])
def test_one_candidate_is_enough(kind: str) -> None:
    rows = homeowner_rows(36)
    labels = sorted({row.label for row in rows})
    candidates = draw_candidates(rows, labels, [next(one for one in CANDIDATES if one[1] == kind)])
    candidates = [replace(candidate, curve=(), repeats=(), generation={}, cost={}) for candidate in candidates]
    board = build(candidates, rows, labels, 100, 0)
    shown = Page(html(make_report(board, rows, labels, stages=(), curves={}), {})).text
    assert "There is no other candidate to test." in shown
    assert "Every candidate was trained once" in shown
    assert "No model was tuned." in shown


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = find_browser()
    if executable is None:
        pytest.skip("no Chromium or Chrome on this machine: the page is only parsed, not opened")
    try:
        opened = Browser(executable, tmp_path_factory.mktemp("profile"))
    except BrowserError as error:
        pytest.skip(f"{executable} does not start here ({error}): the page is only parsed, not opened")
    with opened:
        yield opened


_CONTRASTS = """
(() => {
  const parts = (c) => { const n = c.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
  const linear = (v) => v <= 10.31 ? v / 3294.6 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = (c) => .2126 * linear(c[0]) + .7152 * linear(c[1]) + .0722 * linear(c[2]);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = parts(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) return c;
    }
    return [255, 255, 255, 1];
  };
  document.querySelectorAll("details").forEach((e) => e.open = true);
  const poor = [];
  for (const e of document.querySelectorAll("body *:not(svg *)")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(parts(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) poor.push([e.tagName, e.className, e.textContent.slice(0, 30)]);
  }
  return poor;
})()
"""


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844), (320, 640)])
@pytest.mark.parametrize("text", [page, lambda: page(77), forged], ids=["18 labels", "77 labels", "forged"])
def test_in_a_browser_it_fits_complains_of_nothing_and_fetches_nothing(
    browser: Browser, tmp_path: Path, text, width: int, height: int
) -> None:
    (tmp_path / "report.html").write_text(text(), encoding="utf-8")
    browser.open(tmp_path / "report.html", width, height, mobile=width < 600)
    assert browser.evaluate("innerWidth") == width
    browser.evaluate("document.querySelectorAll('details').forEach((e) => e.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.evaluate("document.querySelectorAll('.plot svg').length") > 5
    assert browser.evaluate("typeof window.forged") == "undefined"
    assert browser.requests == [(tmp_path / "report.html").resolve().as_uri()]
    assert browser.complaints == []


@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser_all_text_stands_out_from_its_ground(browser: Browser, tmp_path: Path, dark: bool) -> None:
    (tmp_path / "report.html").write_text(page(), encoding="utf-8")
    browser.open(tmp_path / "report.html", 1366, 768, dark=dark)
    assert browser.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == dark
    assert browser.evaluate(_CONTRASTS) == []


def test_the_browser_would_notice(browser: Browser, tmp_path: Path) -> None:
    """What the tests above look for is found where it is there."""
    bad = (
        "<p style='width:2000px;color:#888'>wide</p><img src=missing.png>"
        "<script>window.forged = 1; console.log('x')</script>"
    )
    (tmp_path / "bad.html").write_text(f"<!DOCTYPE html><meta name=viewport content='width=device-width'>{bad}")
    browser.open(tmp_path / "bad.html", 390, 844)
    assert not browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.evaluate("window.forged") == 1
    assert any(address.endswith("missing.png") for address in browser.requests)
    assert browser.complaints
    assert browser.evaluate(_CONTRASTS)
