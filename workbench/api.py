"""The workbench from Python: a run as an object, for notebooks and scripts.

The command line calls the same methods, so whatever is done here is found there and the other way round: the same run
folders, the same steps kept, the same MLflow store. What a method returns shows itself in a notebook as a table.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwright.bundle.store import load
from labelwright.bundle.types import Bundle
from labelwright.conversion.certificate import Certificate
from labelwright.errors import RecipeError
from labelwright.files import write_text
from workbench import demo, verbs
from workbench.first.named import Named
from workbench.first.write import new_recipe
from workbench.next_rows.answers import Estimate
from workbench.next_rows.ask import Wanted, ask, take
from workbench.next_rows.batch import Batch
from workbench.progress import Display
from workbench.recipe.faults import name_fault
from workbench.recipe.read import read_recipe
from workbench.report.report import Report, read_report
from workbench.report.table import Table
from workbench.report.tables import tables
from workbench.report.verdict_words import words
from workbench.retrieval.corpus.read import Files
from workbench.retrieval.report.result import RetrievalResult
from workbench.run.folder import RUNS, RunFolder, find_run
from workbench.synthetic.making import synthesize

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def new(
    rows: pd.DataFrame | str | Path, *, text: str | Sequence[str] = "", label: str = "", group: str = "",
    test: str = "", name: str = "", force: bool = False, display: Display | None = None,
) -> Run:  # fmt: skip
    """Write a recipe for your rows, as `make new` does, and give its run.

    Parameters
    ----------
    rows : DataFrame or path
        A frame is kept as runs/NAME/rows.jsonl, from where the recipe reads it.
    text, label, group : str
        Columns, where they are not to be found out; the text may be several, ``["title", "body"]``.
    test : path
        A file or folder whose rows are the test split.
    name : str
        Of the recipe, runs/NAME.toml; left out, the file's, or "notebook".
    force : bool
        Write the recipe anew, though there is one. With the same rows it is taken as it is.

    Raises
    ------
    LabelwrightError
        As ``workbench.first.write.new_recipe``.
    """
    shown = display or Display()
    if isinstance(rows, (str, Path)):
        return Run(new_recipe(Named(str(rows), str(test), name, text, label, group), force, shown), display=shown)
    name = name or "notebook"
    if fault := name_fault(name):
        raise RecipeError(f"name = {name!r}: {fault}")
    content = str(rows.to_json(orient="records", lines=True, force_ascii=False, date_format="iso"))
    kept, recipe = RUNS / name / "rows.jsonl", RUNS / f"{name}.toml"
    if recipe.is_file() and not force:
        if kept.is_file() and kept.read_text(encoding="utf-8") == content:
            shown.say(f"the same rows as before; their recipe is {recipe}")
            return Run(recipe, display=shown)
        raise RecipeError(f"{recipe} is there already, for other rows: give another name, or force=True")
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_text(kept, content)
    return Run(new_recipe(Named(str(kept), str(test), name, text, label, group), True, shown), display=shown)


class Run:
    """One run of a recipe.

    Parameters
    ----------
    recipe : path
        A TOML file such as "runs/homeowner.toml".
    run : str
        A run's stamp or folder; left out, the first method chooses as the command line does: the newest, or a new one.
    display : Display, optional
        Where progress is shown.

    Attributes
    ----------
    recipe : Recipe
    folder : RunFolder or None
        Of the run, once a method has chosen it.
    """

    def __init__(self, recipe: str | Path, run: str = "", display: Display | None = None) -> None:
        self.recipe = read_recipe(recipe)
        self._display = display or Display()
        self._run = run

    @property
    def folder(self) -> RunFolder | None:
        """The run's folder as it stands now; None where no method has begun or found one."""
        return find_run(RUNS / self.recipe.name, self._run) if self._run else None

    def demo(self, minutes: float = 0, force: bool = False) -> Result:
        """A first table, the recipe's stages, a short comparison, the bundle; see ``workbench.demo.demo``."""
        self._at(demo.demo(self.recipe, self._run, force, self._display, minutes))
        return self.result()

    def optimize(self, force: bool = False) -> Stages:
        """Tune the prompt (GEPA)."""
        return self._tune("optimize", force)

    def train(self, force: bool = False) -> Stages:
        """Tune the weights (GRPO)."""
        return self._tune("train", force)

    def calibrate(self, force: bool = False) -> Stages:
        """Fit the probabilities."""
        return self._tune("calibrate", force)

    def compare(self, force: bool = False, candidate: str = "") -> Result:
        """Score every candidate on test; with ``candidate`` that one again."""
        self._at(verbs.compare(self.recipe, self._run, force, self._display, candidate))
        return self.result()

    def export(self, candidate: str = "", force: bool = False) -> Exported:
        """Write, verify and register the bundle: the newest step's, or a candidate's ("best", "ship": the verdict)."""
        folder = self._at(verbs.export(self.recipe, self._run, force, self._display, candidate))
        return Exported(folder.path / "bundle")

    def convert(self, to: str, quantise: str = "", force: bool = False) -> Certificate | None:
        """Write the exported bundle for another runtime, certified on dev; None where only a server can certify it."""
        folder, certificate = verbs.convert(self.recipe, self._run, to, quantise, force, self._display)
        self._at(folder)
        return certificate

    def review(self) -> None:
        """What people answered to rows in doubt, as a corrected data file beside the run."""
        verbs.review(self.recipe, self._run, self._display)

    def next_rows(self, pool: pd.DataFrame | str | Path, n: int = 50, **wanted: Any) -> NextRows:
        """Choose rows of a pool for people to label, and write the sheet that they fill.

        Parameters
        ----------
        pool : DataFrame or path
            Rows without labels.
        n : int
        **wanted
            ``share``, ``minutes``, ``out``, ``text`` and ``force``, as ``workbench.next_rows.ask.Wanted`` has them.
        """
        return NextRows(*ask(self.recipe, self._run, pool, Wanted(n, **wanted), self._display))

    def take_labels(self, labels: str | Path) -> list[Estimate]:
        """Take a filled sheet: rows for ``[data] train_path``, and what those drawn by chance say of the classifier."""
        return take(self.recipe, labels, self._display)

    def synthesize(self, force: bool = False) -> Path:
        """Have a larger model write train rows, as ``[synthetic]`` says; where they are."""
        return synthesize(self.recipe, force, self._display)

    def retrieval(self, documents: str = "", queries: str = "", relevant: str = "", **wanted: Any) -> RetrievalResult:
        """What the bundle's labels bring to searches of documents.

        Parameters
        ----------
        documents, queries : path
            Files of documents (id, text, category) and of queries (id, text, relevant).
        relevant : path
            A file of pairs, in place of the queries' column.
        **wanted
            ``bundle``, ``taught``, ``k``, ``encoder`` and ``out``: see ``workbench.retrieval.run.RetrievalSettings``.
        """
        from workbench.retrieval.run import RetrievalSettings, retrieval

        files = Files(*map(str, (documents, queries, relevant)))
        return retrieval(self.recipe, self._run, RetrievalSettings(files, **wanted), self._display)

    def result(self) -> Result:
        """The newest comparison's report.

        Raises
        ------
        RecipeError
            There is none yet.
        """
        folder = self.folder
        report = None if folder is None else read_report(folder)
        if folder is None or report is None:
            raise RecipeError(f"{self.recipe.name}: nothing is compared yet; call compare() or demo()")
        return Result(report, folder.path)

    def _tune(self, verb: str, force: bool) -> Stages:
        return Stages(self._at(verbs.tune(self.recipe, verb, self._run, force, self._display)))

    def _at(self, folder: RunFolder) -> RunFolder:
        self._run = str(folder.path)
        return folder

    def _repr_html_(self) -> str:
        title, folder = f"<b>{html.escape(self.recipe.name)}</b>", self.folder
        if folder is None or not folder.done_steps():
            return f"{title}: no step yet"
        return f"{title}, run {folder.path.name}{Stages(folder)._repr_html_()}"


@dataclass(frozen=True)
class Stages:
    """What a run's steps took and reached on dev, the newest last."""

    folder: RunFolder

    @property
    def bundle(self) -> Bundle:
        """Of the newest step."""
        return load(self.folder.bundle_path(self.folder.done_steps()[-1]))

    @property
    def table(self) -> pd.DataFrame:
        """A row a step: stage, seconds, and its numbers on dev."""
        import pandas as pd

        rows = []
        for step in self.folder.done_steps():
            numbers = load(self.folder.bundle_path(step)).report
            rows.append({"step": step["folder"], "seconds": step.get("seconds"), **numbers})
        return pd.DataFrame(rows).set_index("step")

    def _repr_html_(self) -> str:
        return str(self.table.to_html(escape=True, float_format="{:.3g}".format))


@dataclass(frozen=True)
class Result:
    """A comparison: the report, and the folder with its files.

    Attributes
    ----------
    report : Report
        Everything as typed values.
    folder : Path
        Of the run; report.html is in it.
    """

    report: Report
    folder: Path

    @property
    def verdict(self) -> str:
        """What the comparison says, in words."""
        return words(self.report).text

    @property
    def leaderboard(self) -> pd.DataFrame:
        """The first table of the report, a row a candidate, cells as text."""
        return _frame(tables(self.report)[0])

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables of the report that have rows, by title."""
        return {table.full_title: _frame(table) for table in tables(self.report) if table.rows}

    @property
    def plots(self) -> Mapping[str, Figure]:
        """The report's pictures, by name."""
        from workbench.report.plots.figures import figures

        return figures(self.report)

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.verdict)}</p>{self.leaderboard.to_html(escape=True)}"


@dataclass(frozen=True)
class NextRows:
    """A sheet to be filled.

    Attributes
    ----------
    sheet : Path
    batch : Batch
        What is asked, with what the classifier said of it.
    """

    sheet: Path
    batch: Batch

    @property
    def table(self) -> pd.DataFrame:
        """The rows that are asked: id, text and why; no guess, which whoever labels should not see."""
        import pandas as pd

        return pd.DataFrame([(row.id, row.text, row.why) for row in self.batch.rows], columns=["id", "text", "why"])

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(str(self.sheet))}</code>{self.table.to_html(escape=True, index=False)}"


@dataclass(frozen=True)
class Exported:
    """A bundle on disk.

    Attributes
    ----------
    path : Path
        Its folder: all that it needs to run elsewhere.
    """

    path: Path

    def predict(self, texts: Sequence[str]) -> pd.DataFrame:
        """The most probable label of each text, and its probability."""
        import pandas as pd

        from labelwright.classifier import Classifier

        classifier = Classifier.from_bundle(self.path)
        answered, probs = classifier.predict(list(texts)), classifier.predict_proba(list(texts))
        return pd.DataFrame({"text": list(texts), "label": answered, "confidence": probs.max(axis=1)})

    def _repr_html_(self) -> str:
        bundle = load(self.path)
        history = " → ".join(str(one.get("candidate") or one["stage"]) for one in bundle.history) or "untuned"
        return f"<code>{html.escape(str(self.path))}</code>: {html.escape(history)}, {len(bundle.task.names)} labels"


def _frame(table: Table) -> Any:
    import pandas as pd

    named = {column.name: table.values(column.name) for column in table.columns}
    return pd.DataFrame(named).set_index(table.columns[0].name)
