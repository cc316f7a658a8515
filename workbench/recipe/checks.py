"""What a recipe's tables say of each other: what a stage, a candidate or the export would refuse an hour later.

Each check is a function from a recipe whose tables are right by themselves to pairs of (table, fault). What is not
written in the file is not faulted: a default may be left out where it does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import baselines
from baselines.settings import read_settings
from labelwright.data.formats.dialect import PLAIN
from labelwright.data.task import LETTERS, Task
from labelwright.errors import DataError, LabelwrightError, RecipeError
from labelwright.prompt import answers_of
from labelwright.settings import shown
from optimizers.training.settings import dealt, whole_weights
from rewards import check_reward
from workbench.recipe.beside.synthetic import written_to
from workbench.recipe.fill import unknown_keys
from workbench.recipe.recipe import Recipe, asked_stages, distilled_candidates, own_candidates, synthetic_candidates
from workbench.recipe.stages import BLIND, CASCADE, HOSTED, TOGETHER, Pipeline, learns_soft, read_pipeline
from workbench.recipe.tables.candidates import DistilTable
from workbench.recipe.tables.search import search_faults, searched_candidates

Fault = tuple[str, str]
# Stages that change weights, which only an engine in this process can.
TRAINING = ("sft", "grpo", "dpo")
_LONGEST_LABEL = 300


def cross_faults(recipe: Recipe, document: Mapping[str, Any], stages: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults between tables.

    Parameters
    ----------
    document : mapping
        The file as it was read, to tell what is written from what is a default.
    stages : mapping of name to stage
        Every stage that the recipe runs or sets, built.
    """
    yield from _task_faults(recipe)
    yield from _cost_faults(recipe)
    yield from _model_faults(recipe)
    yield from _stage_faults(recipe, stages)
    yield from _baseline_faults(recipe, "names" in document.get("baselines", {}))
    yield from _candidate_faults(recipe)
    yield from _distil_faults(recipe)
    yield from _synthetic_faults(recipe)
    tunings = [*recipe.models.candidates, *own_candidates(recipe)]
    for fault in search_faults(recipe.search, recipe.baselines.names, tunings, recipe.baselines.settings):
        yield "search", fault
    if recipe.data.shows_images:
        yield from _image_faults(recipe, stages)


def check_together(recipe: Recipe, of_verb: Sequence[str], n_processes: int, sharded: bool = False) -> None:
    """Hold a recipe to so many processes that train together, before anything is searched or trained.

    Parameters
    ----------
    of_verb : sequence of str
        Stages that the verb runs besides the recipe's.
    sharded : bool
        Whether each of them holds a share of the model's layers.

    Raises
    ------
    RecipeError
        Rows of a step that cannot be dealt to them evenly, rows with images, or weights that are all trained though
        their model is sharded; all stages at once.
    """
    training = [stage for stage in dict.fromkeys([*recipe.stages, *of_verb]) if stage in TRAINING]
    faults = []
    if training and recipe.data.shows_images:
        faults.append("rows with images are trained on by one process: leave `accelerate launch` out")
    for name in training:
        stage = recipe.stage(name)
        if sharded and stage.trains_all:
            faults.append(whole_weights(name))
        try:
            dealt(stage, n_processes)
        except RecipeError as error:
            faults.append(str(error))
    if faults:
        raise RecipeError(f"{recipe.path}: {'; '.join(faults)}")


def check_rewards(recipe: Recipe, task: Task) -> None:
    """Hold the rewards of the recipe's stages to the labels, once these are known. Raises RecipeError."""
    in_candidates = [stage for candidate in recipe.models.candidates for stage in read_pipeline(candidate).stages]
    for name in dict.fromkeys([*recipe.stages, *in_candidates]):
        if fault := _reward_fault(recipe.stage(name), task.names, False, task):
            raise RecipeError(f"{recipe.path}, [{name}]: {fault}")


def check_styles(recipe: Recipe, task: Task) -> None:
    """Hold the styles asked for to the number of labels, once that is known. Raises RecipeError, of all of them."""
    asked = {name: read_pipeline(name).style for name in recipe.models.candidates} | {"[task]": recipe.task.style}
    faults = []
    for where, style in asked.items():
        try:
            answers_of(style or recipe.task.style, task.labels)
        except DataError as error:
            faults.append(f"{where}: {error}")
    if faults:
        raise RecipeError(f"{recipe.path}: {'; '.join(faults)}")


def _task_faults(recipe: Recipe) -> Iterator[Fault]:
    task, data = recipe.task, recipe.data
    if data.rename and (data.choices or task.questions or task.kind != "choice"):
        yield "data", "rename is of one list of labels: write other answers in the file as they are to be called"
    if task.tree and (data.choices or task.questions or task.kind != "choice"):
        yield "task", "tree is of one list of labels alone: leave it out"
    if data.choices and (task.labels or task.style != "name" or task.questions or task.kind != "choice"):
        yield "data", "choices and [task] labels, kind, questions or style: rows bring their own choices, or share them"
    elif task.questions or task.kind != "choice":
        yield from _question_faults(recipe)
    elif task.labels:
        too_long = [label.name for label in task.labels if len(label.name) > _LONGEST_LABEL]
        if too_long:
            yield "task", f"label {shown(too_long[0])}: expected at most {_LONGEST_LABEL} characters"
        try:
            Task(recipe.name, task.instructions, task.labels, tree_separator="" if data.choices else task.tree)
        except LabelwrightError as error:
            yield "task", str(error).removeprefix(f"task {recipe.name!r} ")
        if data.out_of_scope and data.out_of_scope in [label.name for label in task.labels]:
            yield "data", f"out_of_scope = {shown(data.out_of_scope)}: is one of [task] labels, leave it out there"
    if data.path and (data.config or data.revision):
        yield "data", "config and revision go with hub, and path was given: take them out"
    if data.hub and data.dialect != PLAIN:
        named = ", ".join(one.name for one in fields(PLAIN))
        yield "data", f"{named} go with path, and hub was given: take them out"
    if data.choices and "conflicting" in data.leave_out:
        yield "data", 'leave_out = ["conflicting"]: rows bring their own choices, and may have several labels'


def _question_faults(recipe: Recipe) -> Iterator[Fault]:
    task, data = recipe.task, recipe.data
    if task.questions and (task.labels or task.kind != "choice"):
        yield "task", "questions and labels or kind: each question has its own; leave labels and kind out"
    try:
        asked = Task.asking(recipe.name, task.instructions, [one.question for one in recipe.asked])
    except LabelwrightError as error:
        yield "task", str(error).removeprefix(f"task {recipe.name!r} ")
        return
    if not asked.points:
        return
    if task.style != "name":
        yield "task", f'style = "{task.style}": several points are asked of a row, by their names alone; leave it out'
    for key in ("out_of_scope", "train_path", "unlabelled"):
        if getattr(data, key):
            yield "data", f"{key}: not for rows with several answers yet; leave it out"
    if recipe.costs.prices:
        yield "costs", "several points are asked of a row, and prices name one label: leave the table out"


def _cost_faults(recipe: Recipe) -> Iterator[Fault]:
    if (costs := recipe.costs.prices) is None:
        return
    if recipe.data.choices:
        yield "costs", "rows bring their own choices, which no price can name: leave the table out"
    elif recipe.task.labels:
        for fault in costs.faults(list(dict.fromkeys(label.name for label in recipe.task.labels))):
            yield "costs", fault


def _model_faults(recipe: Recipe) -> Iterator[Fault]:
    for fault in recipe.model.faults():
        yield "model", fault


def _stage_faults(recipe: Recipe, stages: Mapping[str, Any]) -> Iterator[Fault]:
    asked = asked_stages(recipe)
    for name in TRAINING:
        if name in asked and recipe.model.backend != "transformers":
            yield name, f'trains in this process, which [model] backend = "{recipe.model.backend}" cannot: leave it out'
        if name in asked and recipe.model.thinking_tokens:
            yield name, "trains answers, not thoughts: set [model] thinking_tokens = 0, or leave the stage out"
    has_choices, has_points = bool(recipe.data.choices), _has_points(recipe)
    if has_points:
        yield from _point_faults(recipe, stages, asked)
    if "dpo" in asked and (preferences := getattr(stages.get("dpo"), "preferences", "")):
        if has_choices:
            yield "dpo", "preferences: rows bring their own choices, and letters are no labels; leave it out"
        elif not Path(preferences).is_file():
            yield (
                "dpo",
                f"preferences = {shown(preferences)}: no such file (relative paths start at the current folder)",
            )
    if has_choices and "neighbours" in asked:
        yield "neighbours", "rows bring their own choices, and a similar row's letter says nothing: leave it out"
    if has_choices and getattr(stages.get("prior"), "source", "") == "content_free":
        yield "prior", 'source = "content_free": rows bring their own choices, a text has none; use "train"'
    if not has_choices and getattr(stages.get("calibrate"), "rotations", False):
        yield "calibrate", "rotations = true: only rows that bring their own choices ([data] choices) have an order"
    maximise = getattr(stages.get("calibrate"), "maximise", "")
    if maximise and not (has_points and any(one.question.kind == "labels" for one in recipe.asked)):
        yield (
            "calibrate",
            f"maximise = {shown(maximise)}: no question takes any of several labels ([task] kind): leave it out",
        )
    for name, stage in stages.items():
        if has_choices and getattr(stage, "steering_share", 0.0) > 0:
            yield name, "steering_share: rows bring their own choices, and no ending can ask for a letter: leave it out"
        if has_choices and getattr(stage, "augment", 0.0) > 0:
            yield name, "augment: rows bring their own choices, which typos and cuts would change as well: leave it out"
    # A label twice is the task's fault, and told there.
    names = LETTERS if has_choices else list(dict.fromkeys(_label_names(recipe)))
    task = _task(recipe)
    for name, stage in stages.items():
        if fault := _reward_fault(stage, names, has_choices, task):
            yield name, fault


def _label_names(recipe: Recipe) -> list[str]:
    """The labels as far as they are known; none where questions are at fault, which is told of these."""
    try:
        return recipe.label_names
    except LabelwrightError:
        return []


def _task(recipe: Recipe) -> Task | None:
    """The task; None where rows say its labels, or it is at fault, which is told elsewhere."""
    if not (names := _label_names(recipe)) or recipe.data.choices:
        return None
    try:
        return recipe.task_for(tuple(names))
    except LabelwrightError:
        return None


def _structure(recipe: Recipe) -> str | None:
    """What the labels are, as ``Task.structure``; None where the questions are at fault."""
    if recipe.task.tree:
        return "tree"
    if not recipe.task.questions and recipe.task.kind == "choice":
        return ""
    task = _task(recipe)
    return task.structure if task else None


def _has_points(recipe: Recipe) -> bool:
    try:
        return recipe.has_points
    except LabelwrightError:
        return False


def _point_faults(recipe: Recipe, stages: Mapping[str, Any], asked: Sequence[str]) -> Iterator[Fault]:
    """What takes one label a row, or changes a row's text, where several points are asked of it."""
    why = "several points are asked of a row"
    for name in ("neighbours", "dpo"):
        if name in asked:
            yield name, f"{why}, and this stage takes one label of each: leave it out"
    for name, stage in stages.items():
        for key in ("steering_share", "augment"):
            if getattr(stage, key, 0.0) > 0:
                yield name, f"{key}: {why}, which copies would not stand behind: leave it out"
        if getattr(stage, "abstain", False):
            yield name, f"abstain: {why}, and errors are promised of rows with one answer: leave it out"
        if getattr(stage, "mode", "") == "sampled":
            yield name, f'mode = "sampled": {why} that is read once, which draws are not: use "exact"'
        if getattr(stage, "reward", "") == "judge":
            yield name, f'reward = "judge": {why}, and a judge rates labels of one list: use another reward'
        if "descriptions" in getattr(stage, "components", ()):
            yield name, f'components: {why}, which have no descriptions of labels: use ["instructions"]'
    if getattr(stages.get("prior"), "source", "") == "content_free":
        yield "prior", f'source = "content_free": {why}, and a text without one has none; use "train"'
    if recipe.compare.steering_rows:
        yield "compare", f"steering_rows: {why}, and no ending asks for an answer to one: leave it out"
    for candidate in recipe.models.candidates:
        if read_pipeline(candidate).free:
            yield "models", f"candidates: free: {why}, and free text answers one question: leave it out"


def _image_faults(recipe: Recipe, stages: Mapping[str, Any]) -> Iterator[Fault]:
    """What does not look at images, or would take the line that stands for one in a text for words."""
    shown_to, data = "the model looks at images ([data] image_read_by)", recipe.data
    if recipe.model.backend != "transformers":
        yield "model", f'backend = "{recipe.model.backend}": {shown_to}, which only "transformers" shows it'
    if recipe.model.thinking_tokens:
        yield "model", f"thinking_tokens: {shown_to}, and answers at once: leave it out"
    asked = asked_stages(recipe)
    for name in ("demos", "neighbours"):
        if name in asked:
            yield name, f"{shown_to}, and examples in a prompt have none: leave it out"
    if "prior" in asked and getattr(stages.get("prior"), "source", "") == "content_free":
        yield "prior", f'source = "content_free": {shown_to}, a text has none; use "train"'
    for name, stage in stages.items():
        if getattr(stage, "augment", 0.0) > 0 or getattr(stage, "steering_share", 0.0) > 0:
            yield name, f"augment and steering_share change words, and {shown_to}: leave them out"
    for name in ("out_of_scope", "unlabelled"):
        if getattr(data, name):
            yield "data", f"{name}: {shown_to}, and what it is for reads words alone: leave it out"
    if recipe.synthetic.model or recipe.synthetic.candidates:
        yield "synthetic", f"{shown_to}, and a written row has none: leave the table out"
    if recipe.cascade.hosted_model:
        yield "cascade", f"hosted_model: {shown_to}, and it would be asked without: leave it out"
    if recipe.distil.students:
        yield "distil", f"students: {shown_to}, and what they learn is read by its words alone: leave the table out"
    wordy = [name for name in recipe.baselines.names if name not in BLIND]
    if wordy and data.text_columns.names[1:] == ():
        only = "rows are images without words ([data] text), of which they can learn nothing"
        yield "baselines", f'names: {", ".join(wordy)}: {only}; set names = ["majority"]'


def _reward_fault(stage: Any, names: Any, has_choices: bool, task: Task | None) -> str:
    if not hasattr(stage, "reward_settings"):
        return ""
    try:
        check_reward(stage.reward, stage.reward_settings, names, has_choices, task)
    except LabelwrightError as error:
        return f"reward_settings: {error}"
    return ""


def _baseline_faults(recipe: Recipe, written: bool) -> Iterator[Fault]:
    table, has_choices, has_points = recipe.baselines, bool(recipe.data.choices), _has_points(recipe)
    structure = _structure(recipe)
    if written:
        for fault in unknown_keys(table.names, baselines.BASELINES, "baseline"):
            yield "baselines", f"names: {fault}"
        for name in table.names:
            if name in baselines.BASELINES and (missing := baselines.needs(name, has_choices, has_points, structure)):
                found = "rows bring their own choices" if has_choices else "[data] choices is not set"
                found = "several points are asked of each" if has_points else found
                found = "the labels are others" if baselines.BASELINES[name].rows in ("levels", "tree") else found
                yield "baselines", f"names: {name} needs {missing}, and {found}"
        if "minilm-nearest-description" in table.names and not any(one.description for one in recipe.task.labels):
            yield (
                "baselines",
                "names: minilm-nearest-description needs descriptions, and [task] labels has none",
            )
    for name, given in table.settings.items():
        if name not in table.names:
            near = unknown_keys([name], table.names, "baseline")
            yield "baselines.settings", f"{near[0]}; only those in names can be set"
            continue
        faults: list[str] = []
        read_settings(name, getattr(baselines.BASELINES.get(name), "settings", {}), given, faults)
        for fault in faults:
            yield f"baselines.settings.{name}", fault


def _candidate_faults(recipe: Recipe) -> Iterator[Fault]:
    table = recipe.compare
    known = list(dict.fromkeys([*recipe.baselines.names, *recipe.models.candidates, *own_candidates(recipe)]))
    seen: dict[Pipeline, str] = {}
    for candidate in recipe.models.candidates:
        pipeline = read_pipeline(candidate)
        if recipe.data.choices and pipeline.style in ("code", "letter"):
            yield (
                "models",
                f"candidates: {candidate}: rows that bring their own choices have letters before them already",
            )
        same = Pipeline(pipeline.stages, pipeline.style or recipe.task.style, pipeline.free)
        if same in seen:
            yield "models", f"candidates: {candidate} is {seen[same]} once more, as [task] style says; name one of them"
        seen[same] = candidate
    for fault in unknown_keys(table.noise, recipe.baselines.names, "baseline"):
        yield "compare", f"noise: {fault}"
    for fault in unknown_keys(table.curves, known, "candidate"):
        yield "compare", f"curves: {fault}"
    for fault in unknown_keys(recipe.demo.candidates, known, "candidate"):
        yield "demo", f"candidates: {fault}; those of [baselines] names and [models] candidates can stand here"
    for name in ("ensemble", "cascade"):
        for fault in unknown_keys(getattr(recipe, name).members, known, "candidate"):
            yield name, f"members: {fault}"
    yield from _hosted_faults(recipe, known)
    wanted = recipe.export.candidate
    distilled = distilled_candidates(recipe)
    everybody = [*known, *TOGETHER, *distilled, *synthetic_candidates(recipe), *searched_candidates(recipe.search)]
    elsewhere = [HOSTED] if recipe.cascade.hosted_model else []
    for fault in unknown_keys(recipe.money.candidates, [*everybody, *elsewhere], "candidate"):
        yield "money", f"candidates: {fault}"
    behind = {"person": recipe.money.person, f"candidates.{HOSTED}": recipe.money.candidates.get(HOSTED)}
    alone = [f"{name} = {price}" for name, price in behind.items() if price is not None]
    if alone and recipe.money.hour is None and not recipe.money.candidates.keys() - {HOSTED}:
        yield (
            "money",
            f"{' and '.join(alone)} alone shows nothing, as no candidate has its money: expected hour, or prices of "
            "candidates, beside it",
        )
    exportable = [*everybody, "best", "ship"]
    if wanted and (fault := next(iter(unknown_keys([wanted], exportable, "candidate")), "")):
        yield "export", f"candidate: {fault}"
    elif wanted in known and _is_free(recipe, wanted):
        yield (
            "export",
            f"candidate = {shown(wanted)}: answers in free text, which no bundle does; name another candidate",
        )
    if not (recipe.stages or recipe.models.candidates or recipe.baselines.names):
        yield "", "no stages, no [models] candidates and no [baselines] names: there is nothing to do"


def _hosted_faults(recipe: Recipe, known: Sequence[str]) -> Iterator[Fault]:
    table = recipe.cascade
    for one in (table.elsewhere, recipe.distil.elsewhere):
        if one.url and not one.model:
            yield (
                one.table,
                "hosted_url alone: expected hosted_model, the name that this server has for its model, beside it",
            )
    if recipe.distil.hosted_model and recipe.distil.teacher:
        yield "distil", "teacher and hosted_model: students have one teacher; leave out one of them"
    if table.hosted_model and not table.most_levels:
        yield (
            "cascade",
            "hosted_model is asked behind a cascade, which most_levels = 0 leaves out: leave out one of them",
        )
    asked = [name for name in known if name not in BLIND and (not table.members or name in table.members)]
    able = [name for name in asked if not _is_free(recipe, name)]
    if table.hosted_model and table.most_levels and len(able) < 2 and set(table.members) <= set(known):
        yield (
            "cascade",
            f"hosted_model is asked behind a cascade, which is made of two candidates or more that look at a row and "
            f"give probabilities: {' and '.join(able) or 'none'} may be asked here; name others, or leave it out",
        )


def _is_free(recipe: Recipe, candidate: str) -> bool:
    return candidate not in recipe.baselines.names and read_pipeline(candidate).free


def _distil_faults(recipe: Recipe) -> Iterator[Fault]:
    table, names = recipe.distil, recipe.baselines.names
    if not recipe.data.unlabelled and not table.students:
        if table != DistilTable():
            yield (
                "distil",
                "nobody learns: set [data] unlabelled, rows without labels, or name students, who then learn train's "
                "own texts; or leave the table out",
            )
        return
    if recipe.data.choices and recipe.data.unlabelled:
        yield "data", "unlabelled: rows bring their own choices, which no pool shares: leave it out"
        return
    if recipe.data.choices or _has_points(recipe):
        rows = "bring their own choices" if recipe.data.choices else "have several answers"
        if table.students:
            yield "distil", f"students: rows {rows}, and students learn one label of a list: leave the table out"
        return
    single = list(dict.fromkeys([*names, *recipe.models.candidates, *own_candidates(recipe)]))
    able = [name for name in single if learns_soft(name)]
    for name in table.students:
        if name not in able:
            is_there = "is not in [baselines] names or [models] candidates"
            why = "cannot learn from probabilities" if name in single else is_there
            expected = ", ".join(able) or "none of them can"
            yield "distil", f"students: {shown(name)} {why}; expected some of: {expected}"
    if not set(able) & set(names) and not table.students:
        can = ", ".join(name for name in baselines.BASELINES if learns_soft(name))
        also = f", or set students: {', '.join(able)} can" if able else ""
        yield "distil", f"nobody in [baselines] names learns from probabilities; add one of {can}{also}"
    known = [name for name in single if not _is_free(recipe, name)]
    if table.teacher and (faults := unknown_keys([table.teacher], [*known, *TOGETHER], "candidate")):
        yield "distil", f"teacher: {faults[0]}"
    for name in TOGETHER:
        most = recipe.cascade.most_levels if name == CASCADE else recipe.ensemble.most_members
        if table.teacher == name and not most:
            yield "distil", f"teacher = {shown(name)}: this recipe leaves it out; name another candidate"


def _synthetic_faults(recipe: Recipe) -> Iterator[Fault]:
    table, names, data = recipe.synthetic, recipe.baselines.names, recipe.data
    if data.choices and (table.model or table.candidates):
        yield "synthetic", "rows bring their own choices, and a letter has no rows of its own: leave the table out"
        return
    for name in table.candidates:
        if name not in names:
            near = unknown_keys([name], names, "baseline")[0]
            yield "synthetic", f"candidates: {near}; only those in [baselines] names can learn"
        elif getattr(baselines.BASELINES.get(name), "zero_shot", False):
            yield "synthetic", f"candidates: {shown(name)} learns from no rows; leave it out"
    given = {Path(one).resolve() for one in (data.path, data.test_path, data.train_path, data.unlabelled) if one}
    if table.path and Path(table.path).resolve() in given:
        yield "synthetic", f"path = {shown(table.path)}: is [data]'s; expected a file of rows that a model wrote"
    # Whether anything is to be written is not known here; what would be written over is no good place for data.
    if (place := written_to(recipe.name)).resolve() in given:
        yield "data", f"{place} is where make synthesize writes: copy it, and name the copy"
