"""Where things are in MLflow's own pages: what stands behind a server's address. Nothing of MLflow is imported here."""

from __future__ import annotations

from urllib.parse import quote

# The experiment's view of runs that every run sets anew, by the key in its address; MLflow lists it under its name.
VIEW = "labelwright"


def newest_run(experiment_id: str) -> str:
    """The runs of the newest recipe run, the best on test first, with the columns that matter.

    >>> newest_run("1")
    '#/experiments/1/runs?viewStateShareKey=labelwright'
    """
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}"


def run(experiment_id: str, run_id: str) -> str:
    """A run: its note, its numbers, its prompts and models."""
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def artifact(experiment_id: str, run_id: str, path: str) -> str:
    """A file of a run, shown."""
    return f"{run(experiment_id, run_id)}/artifacts/{path}"


def models(experiment_id: str) -> str:
    """All logged models with their metrics."""
    # MLflow has these under two names; this one is "Models".
    return f"#/experiments/{experiment_id}/models?workflowType=machine_learning"


def prompt(experiment_id: str, name: str, version: int) -> str:
    """A version of a prompt; "Compare" there holds it against the newest one.

    >>> prompt("1", "a prompt", 2)
    '#/experiments/1/prompts/a%20prompt?promptVersion=2'
    """
    return f"#/experiments/{experiment_id}/prompts/{quote(name, safe='')}?promptVersion={version}"


def registered_model(name: str) -> str:
    """A model of the registry with all its versions."""
    return f"#/models/{quote(name, safe='')}"
