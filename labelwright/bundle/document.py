"""What ``bundle.json`` says: a bundle's fields as JSON, and back, checked. Used by ``labelwright.bundle.store``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from labelwright.bundle.files import (
    ADAPTER_SUFFIXES,
    MODEL_SUFFIXES,
    PREDICTOR_SUFFIXES,
    inside,
    refuse_code,
    refuse_foreign,
    require_complete,
)
from labelwright.bundle.types import Bundle
from labelwright.data.asked.questions import Question
from labelwright.data.costs import Costs
from labelwright.data.task import Label, Task
from labelwright.decisions.promise import NO_PROMISE, Promise
from labelwright.decisions.scope import Preference, Scope, Vectors
from labelwright.engines.settings import LONG_ROWS, EngineSettings
from labelwright.engines.together import document as together
from labelwright.errors import BundleError
from labelwright.models.weights import Adapter, Base, Full, Predictor, Together, Weights
from labelwright.predictors import store as predictors
from labelwright.prompt import Neighbours, Prompt, Template
from labelwright.reading import check_tensors, read_tensors
from labelwright.statistics.calibration import Calibration

FORMAT = "labelwright-bundle"
VERSION = 1
# The vectors that rows in scope are near to.
SCOPE = "scope.safetensors"
_AXES = {"vectors": 2}
_PLACE = "{text}"
# Fits end at 1/1000; what lies far beyond turns every score into the same one, or into none.
_LOWEST_TEMPERATURE = 1e-9
_MOST_TOKENS = 2**20


class Kind(NamedTuple):
    """Where weights of one type lie in a bundle, which files may be there, and which must be."""

    type: type[Adapter] | type[Full] | type[Predictor] | type[Together]
    folder: str
    suffixes: frozenset[str]
    required: str
    needs_tensors: bool = True
    holds_bundles: bool = False


KINDS = {
    "adapter": Kind(Adapter, "adapter", ADAPTER_SUFFIXES, "adapter_config.json"),
    "full": Kind(Full, "model", MODEL_SUFFIXES, "config.json"),
    # What it learned may be JSON, or scikit-learn's, through skops.
    "predictor": Kind(Predictor, "predictor", PREDICTOR_SUFFIXES, predictors.FILE, needs_tensors=False),
    # Whole bundles lie in it, which ``labelwright.bundle.store`` reads as it reads any.
    "together": Kind(
        Together, "together", frozenset({".json"}), together.FILE, needs_tensors=False, holds_bundles=True
    ),
}


def weights_kind(weights: Weights) -> str:
    """base, adapter, full, predictor or together."""
    return next((name for name, kind in KINDS.items() if isinstance(weights, kind.type)), "base")


def to_json(bundle: Bundle, test: Mapping[str, Any] | None, money: Mapping[str, float] | None = None) -> dict[str, Any]:
    """The content of ``bundle.json``. Raises BundleError for what JSON cannot hold, or labels that do not fit."""
    task, prompt, weights = bundle.task, bundle.prompt, bundle.weights
    if tuple(label.name for label in prompt.labels) != task.names or prompt.points != task.points:
        raise BundleError(f"the prompt's labels are not those of task {task.name!r} in the same order")
    kind = weights_kind(weights)
    place = {} if kind == "base" else {"folder": KINDS[kind].folder}
    return {
        "format": FORMAT,
        "version": VERSION,
        "task": {
            "name": task.name,
            "instructions": task.instructions,
            "labels": _labels_json(task.labels),
            **({"max_choices": task.max_choices} if task.by_row else {}),
            **({"costs": task.costs.to_dict()} if task.costs else {}),
            **({"text_columns": list(task.text_columns)} if task.text_columns else {}),
            **({"questions": [_question_json(one) for one in task.questions]} if task.questions else {}),
            **({"tree": task.tree_separator} if task.tree_separator else {}),
            **({"image_column": task.image_column} if task.image_column else {}),
            **({"answers_in": [list(one) for one in task.answers_in]} if task.answers_in else {}),
            **({"separator": task.separator} if task.separator else {}),
        },
        "prompt": {
            "instructions": prompt.instructions,
            "labels": _labels_json(prompt.labels),
            "demos": [list(demo) for demo in prompt.demos],
            "style": prompt.style,
            "cue": prompt.cue,
            "template": _template_json(prompt.template),
            **({"images": True} if prompt.images else {}),
            **({"by_row": True} if prompt.by_row else {}),
            **({"neighbours": _neighbours_json(prompt.neighbours)} if prompt.neighbours else {}),
        },
        "rendered": prompt.sketch(_PLACE).named(),
        "options": list(prompt.options),
        "weights": {"base": weights.base, "kind": kind, **place},
        "calibration": bundle.calibration.to_dict(),
        "unexpanded_mass": bundle.unexpanded_mass,
        "long_rows": bundle.long_rows,
        **({} if bundle.promise == NO_PROMISE else {"promise": bundle.promise.to_dict()}),
        **({"scope": _scope_json(bundle.scope)} if bundle.scope else {}),
        **({"pass_on": bundle.pass_on} if bundle.pass_on else {}),
        **({"said_from": list(bundle.said_from)} if bundle.said_from else {}),
        "report": _plain(bundle.report, "report"),
        "history": _plain(bundle.history, "history"),
        **({} if test is None else {"test": _plain(test, "test")}),
        **({"money": _plain(money, "money")} if money else {}),
    }


def from_json(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The fields of a ``Bundle`` from the content of ``bundle.json``.

    Raises
    ------
    BundleError
        Parts that are missing, of the wrong type, or do not fit together; weights that may not be there.
    """
    try:
        return _fields(content, folder)
    except BundleError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise BundleError(f"{folder / 'bundle.json'}: {reason}; export the bundle again") from error


def _fields(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    labels = tuple(_label(value) for value in content["task"]["labels"])
    max_choices = _whole(content["task"].get("max_choices", 0))
    costs = Costs.from_dict(_object(content["task"]["costs"])) if content["task"].get("costs") else None
    name, instructions = _text(content["task"]["name"]), _text(content["task"]["instructions"])
    # Older bundles do not name columns.
    columns = tuple(_text(one) for one in _list(content["task"].get("text_columns", [])))
    questions = tuple(_question(_object(one)) for one in _list(content["task"].get("questions", [])))
    image = _text(content["task"].get("image_column", ""))
    answers_in = tuple(tuple(map(_text, _list(one))) for one in _list(content["task"].get("answers_in", [])))
    separator = _text(content["task"].get("separator", ""))
    tree = _text(content["task"].get("tree", ""))
    task = Task(name, instructions, labels, max_choices, costs, columns, questions, image, answers_in, separator, tree)
    given = dict(content["prompt"])
    prompt = Prompt(
        instructions=_text(given["instructions"]),
        labels=tuple(_label(value) for value in given["labels"]),
        demos=tuple((_text(text), _text(label)) for text, label in given["demos"]),
        style=given["style"],
        template=_template(given["template"]),
        cue=_text(given["cue"]),
        by_row=given.get("by_row") is True,
        points=task.points,
        neighbours=_neighbours(given["neighbours"]) if given.get("neighbours") else None,
        images=given.get("images") is True,
    )
    if prompt.images != task.shows_images:
        raise BundleError(f"{folder}: the task has images or none, and the prompt says otherwise; export again")
    calibration = Calibration.from_dict(content["calibration"])
    n_biases, n_labels = len(calibration.bias), len(task.names)
    if not _LOWEST_TEMPERATURE <= calibration.temperature <= 1 / _LOWEST_TEMPERATURE:
        raise BundleError(f"{folder}: calibration temperature is {calibration.temperature}, which no fit gives")
    if tuple(label.name for label in prompt.labels) != task.names or n_biases not in (0, n_labels):
        raise BundleError(f"{folder}: prompt or calibration do not fit the task's {n_labels} labels; export again")
    # Older bundles do not say it.
    mass = content.get("unexpanded_mass", EngineSettings.unexpanded_mass)
    if isinstance(mass, bool) or not isinstance(mass, int | float) or not 0 <= mass < 1:
        raise BundleError(f"{folder}: unexpanded_mass is {mass!r}, expected a share in [0, 1); export the bundle again")
    long_rows = content.get("long_rows", EngineSettings.long_rows)
    if long_rows not in LONG_ROWS:
        raise BundleError(f"{folder}: long_rows is {long_rows!r}, expected one of {LONG_ROWS}; export the bundle again")
    pass_on = content.get("pass_on", 0.0)
    if isinstance(pass_on, bool) or not isinstance(pass_on, int | float) or not 0 <= pass_on <= 1:
        raise BundleError(f"{folder}: pass_on is {pass_on!r}, expected a probability; export the bundle again")
    # Bundles from before there were thoughts do not name them.
    written = {"thought": "", "answer_start": "", **content["rendered"]}
    if prompt.sketch(_PLACE).named() != written or list(prompt.options) != content["options"]:
        raise BundleError(
            f"{folder}: this version of labelwright writes the prompt otherwise than the one that made the bundle, so "
            f"its numbers would not hold; install that version, or export again"
        )
    return {
        "task": task,
        "prompt": prompt,
        "weights": _weights(content["weights"], folder),
        "calibration": calibration,
        "report": _object(content["report"]),
        "history": tuple(_object(entry) for entry in _list(content["history"])),
        "unexpanded_mass": float(mass),
        "long_rows": long_rows,
        "promise": Promise.from_dict(content["promise"], n_labels) if "promise" in content else NO_PROMISE,
        "scope": _scope(_object(content["scope"]), folder) if content.get("scope") else None,
        "pass_on": float(pass_on),
        "said_from": _said_from(content.get("said_from", []), task, folder),
    }


def _said_from(given: Any, task: Task, folder: Path) -> tuple[float, ...]:
    """What labels are said from; of a point that is none, and in older bundles of all, that is a half."""
    is_share = isinstance(given, list) and all(type(one) in (int, float) and 0 < one < 1 for one in given)
    if not is_share or len(given) not in (0, len(task.points)):
        raise BundleError(
            f"{folder}: said_from is {str(given)[:80]}, expected {len(task.points)} probabilities between 0 and 1, one "
            "a point of the task; export the bundle again"
        )
    if others := [point.name for point, one in zip(task.points, given, strict=False) if one != 0.5 and not point.label]:
        raise BundleError(f"{folder}: said_from sets {others[0]!r}, which is no label; export the bundle again")
    return tuple(map(float, given))


def _scope_json(scope: Scope) -> dict[str, Any]:
    """All but the vectors, which are a file of their own; JSON has no infinity."""
    least = scope.threshold if math.isfinite(scope.threshold) else None
    found = {"threshold": least, "kept": scope.kept, "n_rows": scope.n_rows, "encoder": scope.encoder}
    more = {"preference": scope.preference._asdict()} if scope.preference else {}
    return found | more | ({"none": True} if scope.none.size else {})


def _scope(written: Mapping[str, Any], folder: Path) -> Scope:
    encoder, least = _text(written["encoder"]), written["threshold"]
    kept, n_rows = written["kept"], _whole(written["n_rows"])
    for one in (kept, *([] if least is None else [least])):
        if isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one <= 1:
            raise BundleError(f"{folder}: scope holds {one!r}, expected a share in [0, 1]; export the bundle again")
    vectors: Vectors = np.zeros((0, 0), dtype=np.float32)
    none: Vectors = np.zeros(0, dtype=np.float32)
    if encoder:
        trained = {"none": 1} if written.get("none") is True else {}
        read = {name: one.astype(np.float32) for name, one in read_tensors(folder / SCOPE, _AXES | trained).items()}
        vectors, none = read["vectors"], read.get("none", none)
    if encoder and not vectors.size:
        raise BundleError(f"{folder / SCOPE}: no vectors; export the bundle again")
    if none.size and none.size != vectors.shape[1] + 1:
        raise BundleError(f"{folder / SCOPE}: weights of other vectors; export the bundle again")
    preference = Preference(**_object(written["preference"])) if written.get("preference") else None
    if preference and not _is_preference(preference):
        raise BundleError(f"{folder}: scope holds {list(preference)}, expected two counts and two shares; export again")
    return Scope(-math.inf if least is None else float(least), float(kept), n_rows, encoder, vectors, none, preference)


def _is_preference(given: Sequence[Any]) -> bool:
    counts = all(type(one) is int and one >= 0 for one in given[:2])
    return counts and all(type(one) in (int, float) and 0 <= one <= 1 for one in given[2:])


def _weights(content: Mapping[str, Any], folder: Path) -> Weights:
    base, kind = _text(content["base"]), _text(content["kind"])
    if kind == "base":
        return Base(base)
    if kind not in KINDS:
        raise BundleError(
            f"{folder}: weights of kind {kind!r}; this version knows base, {', '.join(KINDS)}: install the version "
            f"that made the bundle"
        )
    of_kind, place = KINDS[kind], inside(folder, content["folder"])
    if not place.is_dir() or place.is_symlink() or content["folder"] != of_kind.folder:
        raise BundleError(f"{folder}: no folder {content['folder']!r} with the weights; copy the whole bundle")
    own = predictors.point_folders(place) if kind == "predictor" else []
    if not of_kind.holds_bundles:
        refuse_foreign(place, of_kind.suffixes, own)
    elif foreign := [one.name for one in place.iterdir() if one.name != of_kind.required and not one.is_dir()]:
        raise BundleError(f"{place / min(foreign)}: not allowed beside the bundles that answer together; remove it")
    for one in (place, *own):
        if one in own:
            refuse_foreign(one, of_kind.suffixes)
        require_complete(one, of_kind.required, of_kind.needs_tensors)
        refuse_code(one)
        for path in sorted(one.glob("*.safetensors")):
            check_tensors(path)
    return of_kind.type(base, place)


def _labels_json(labels: Sequence[Label]) -> list[dict[str, str]]:
    return [{"name": label.name, "description": label.description} for label in labels]


def _label(value: Mapping[str, str]) -> Label:
    return Label(_text(value["name"]), _text(value["description"]))


def _question_json(question: Question) -> dict[str, Any]:
    more = {"instructions": question.instructions} if question.instructions else {}
    return {"name": question.name, "kind": question.kind, "labels": _labels_json(question.labels), **more}


def _question(value: Mapping[str, Any]) -> Question:
    labels = tuple(_label(one) for one in _list(value["labels"]))
    return Question(_text(value["name"]), value["kind"], labels, _text(value.get("instructions", "")))


def _template_json(template: Template) -> dict[str, Any]:
    """Of a model that reads no images nothing is said of them, as before there were any."""
    return {name: one for name, one in asdict(template).items() if template.image or "image" not in name}


def _template(value: Mapping[str, Any]) -> Template:
    fields: dict[str, Any] = {
        name: _whole(one) if name == "thinking_tokens" else _text(one) for name, one in value.items()
    }
    template = Template(**fields)
    if not 0 <= template.thinking_tokens <= _MOST_TOKENS:
        raise ValueError(f"thinking_tokens is {template.thinking_tokens}: expected 0 or a number of tokens")
    return template


def _text(value: Any) -> str:
    return _of_type(value, str, "text")


def _object(value: Any) -> dict[str, Any]:
    return _of_type(value, dict, "an object")


def _list(value: Any) -> list[Any]:
    return _of_type(value, list, "a list")


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError(f"found {value!r} where a whole number belongs")
    return _of_type(value, int, "a whole number")


def _of_type(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"found {str(value)[:40]!r} where {name} belongs")
    return value


def _neighbours_json(neighbours: Neighbours) -> dict[str, Any]:
    return {
        "k": neighbours.k,
        "encoder": neighbours.encoder,
        "pool": [list(demo) for demo in neighbours.pool],
        "groups": list(neighbours.groups),
    }


def _neighbours(value: Mapping[str, Any]) -> Neighbours:
    pool = tuple((_text(text), _text(label)) for text, label in value["pool"])
    return Neighbours(pool, _whole(value["k"]), _text(value["encoder"]), tuple(map(_whole, value["groups"])))


def _plain(value: Any, where: str) -> Any:
    """A value as JSON knows it. Named tuples (a metric with its interval) become objects."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise BundleError(f"{where} is a {type(value).__name__}, which a bundle cannot hold: give numbers, text, or lists")
