"""``[baselines]``, ``[models]``, and what is made of other candidates: ``[ensemble]``, ``[cascade]``, ``[distil]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NamedTuple

from labelwright.errors import RecipeError
from labelwright.settings import Check, Range, Text, url_fault
from workbench.recipe.stages import pipeline_fault
from workbench.recipe.tables.fields import Name, Names


@dataclass(frozen=True)
class BaselineTable:
    """``[baselines]``: which of ``baselines.BASELINES`` stand in the leaderboard.

    Attributes
    ----------
    settings : mapping of name to mapping
        ``[baselines.settings.NAME]``: parameters of that estimator other than its defaults.
    """

    names: Names = (
        *("majority", "sgd-ngrams", "sgd-chars", "minilm-nearest-name"),
        *("minilm-logreg", "minilm-svm", "minilm-mlp", "minilm-knn"),
    )
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelsTable:
    """``[models]``: which tunings of the language model stand in the leaderboard beside the run's own steps.

    Attributes
    ----------
    candidates : tuple of str
        Stages joined by "+" ("sft+grpo"), each tuned from the untuned model with the recipe's settings; "untuned", and
        "free" for the untuned model that answers in free text. With "@code", "@letter" or "@name" behind, the model
        answers in that style whatever ``[task] style`` says.
    """

    candidates: Names = ()

    def __post_init__(self) -> None:
        faults = [fault for candidate in self.candidates if (fault := pipeline_fault(candidate))]
        if faults:
            raise RecipeError("; ".join(faults))


@dataclass(frozen=True)
class EnsembleTable:
    """``[ensemble]``: the candidate that is a weighted mean of others, chosen on dev; "-light": without transformers.

    Attributes
    ----------
    members : tuple of str
        Candidates that may be in it; empty: all that give probabilities.
    most_members : int
        So many are in it at most; 0 leaves the ensemble out.
    n_bags : int
        Resamples of dev over which the weights are averaged.
    """

    members: Names = ()
    most_members: Annotated[int, Range(0, 32)] = 8
    n_bags: Annotated[int, Range(1, 1000)] = 20

    def __post_init__(self) -> None:
        if self.most_members == 1:
            raise RecipeError("most_members = 1: expected 2 or more, or 0 to leave the ensemble out")


class Elsewhere(NamedTuple):
    """A model that others run, as a table of the recipe names it.

    Attributes
    ----------
    model : str
        Any model of DSPy's, or with ``url`` the name that a server has.
    url : str
        An OpenAI-compatible server.
    calls : int
        Questions in all, those of earlier comparisons included.
    table : str
        Whose keys ``hosted_model``, ``hosted_url`` and ``hosted_calls`` these are.
    """

    model: str
    url: str
    calls: int
    table: str


@dataclass(frozen=True)
class CascadeTable:
    """``[cascade]``: the candidate in which cheaper members answer what they are sure of, and others the rest.

    Attributes
    ----------
    members : tuple of str
        Candidates that may be asked; empty: all that give probabilities.
    most_levels : int
        So many are asked one after another at most; 0 leaves the cascade out.
    hosted_model : str
        What is asked about the rows that all of these are unsure of: any model of DSPy's, or with ``hosted_url`` the
        name that a server has. It sees the texts of calib and test rows. Empty: nobody.
    hosted_url : str
        An OpenAI-compatible server; keys come from the environment.
    hosted_calls : int
        Questions in all, those of earlier comparisons included; half of them at most for calib.
    """

    members: Names = ()
    most_levels: Annotated[int, Range(0, 4)] = 3
    hosted_model: Name = ""
    hosted_url: Annotated[str, Text(), Check(url_fault)] = ""
    hosted_calls: Annotated[int, Range(2)] = 1000

    def __post_init__(self) -> None:
        if self.most_levels == 1:
            raise RecipeError("most_levels = 1: expected 2 or more, or 0 to leave the cascade out")

    @property
    def elsewhere(self) -> Elsewhere:
        """The model behind it."""
        return Elsewhere(self.hosted_model, self.hosted_url, self.hosted_calls, "cascade")

    def without_hosted(self) -> CascadeTable:
        """The same cascade, behind which nobody is asked."""
        return replace(self, hosted_model="", hosted_url="", hosted_calls=CascadeTable.hosted_calls)


@dataclass(frozen=True)
class DistilTable:
    """``[distil]``: students that learn a teacher's probabilities of rows: those of ``[data] unlabelled``.

    Where there is no such pool and students are named, of train's own texts and, with ``[synthetic]``, of those that a
    model wrote.

    Attributes
    ----------
    teacher : str
        A candidate; empty: the ensemble where there is one, else the candidate that is best on dev.
    students : tuple of str
        Baselines that learn from probabilities, of those in ``[baselines] names``, and tunings of the model that have
        a stage which does ("sft"), of ``[models] candidates`` and the run's own; empty: all such baselines, where there
        is a pool.
    most_rows : int
        Rows of the pool that are learnt at most, drawn by chance.
    hosted_model : str
        Who teaches in a candidate's place: any model of DSPy's, or with ``hosted_url`` the name that a server has. It
        sees the texts of dev rows and of the pool, or of what stands in its place. Empty: nobody.
    hosted_url : str
        An OpenAI-compatible server; keys come from the environment.
    hosted_calls : int
        Questions in all, those of earlier comparisons included. Where it takes more nobody is asked, and
        nothing trained.
    """

    teacher: Name = ""
    students: Names = ()
    most_rows: Annotated[int, Range(1, 1_000_000)] = 20_000
    hosted_model: Name = ""
    hosted_url: Annotated[str, Text(), Check(url_fault)] = ""
    hosted_calls: Annotated[int, Range(2)] = 1000

    @property
    def elsewhere(self) -> Elsewhere:
        """The model that teaches from outside."""
        return Elsewhere(self.hosted_model, self.hosted_url, self.hosted_calls, "distil")
