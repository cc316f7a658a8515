"""`python -m workbench <verb> RECIPE`: arguments in, one line out where something is wrong.

Exit status: 0 done, 2 the input's fault, 3 something unexpected, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields

from labelwright import console
from labelwright.errors import RecipeError
from labelwright.plain_text import shell_word
from optimizers.training.processes.group import alone, join, launched
from workbench.first.named import Named

VERBS = {
    "new": "a first recipe for your own rows",
    "demo": "everything: stages, comparison, bundle",
    "optimize": "the prompt (GEPA)",
    "train": "the weights (GRPO)",
    "calibrate": "the probabilities",
    "compare": "score every candidate on test, write the report",
    "export": "write, verify and register the bundle",
    "convert": "write the bundle for another runtime, certified on dev",
    "predict": "ask the run's bundle",
    "serve": "the run's bundle over HTTP",
    "review": "what people answered to rows in doubt, as corrected data",
    "synthesize": "train rows that a larger model writes",
    "next-rows": "which rows of a pool to label next, and what people then labelled",
    "retrieval": "what the bundle's labels bring to searches of documents",
    "dashboard": "MLflow's UI on the store",
}


# Verbs that train in their own process. A comparison trains every candidate in one of its own.
TOGETHER = ("demo", "train")

# Options of `retrieval`, and what each is.
RETRIEVAL = {
    "documents": "a file of documents: id, text, category",
    "queries": "a file of queries: id, text, and relevant, ids of documents",
    "relevant": "a file of pairs of query and document, as TREC has them, in place of the queries' column",
    "bundle": "a bundle's folder (default: what the run answers with)",
    "taught": "a file of the rows that the bundle was taught (default: the recipe's)",
    "k": "of recall (default: 10)",
    "encoder": "what embeds: minilm, or as [models] has it (default: minilm)",
    "out": "a folder for the report (default: runs/NAME/retrieval)",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    options = _options(sys.argv[1:] if arguments is None else arguments)
    if options.verb == "new":
        return console.run(lambda: _new(options), "labelwright", "interrupted; nothing is written")
    given = shell_word(options.recipe)
    again = f"make {options.verb} RECIPE={given}, or python -m workbench {options.verb} {given}"
    interrupted = "interrupted; the same command continues"
    if options.verb != "retrieval":  # which is more than a verb and a recipe
        interrupted += f": {again}"
    return console.run(lambda: _run(options), "labelwright", interrupted)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser, verbs = _parser()
    if arguments and arguments[0] in verbs:
        return verbs[arguments[0]].parse_whole(arguments[1:])
    return parser.parse_whole(arguments)


def _run(options: argparse.Namespace) -> int:
    if launched()[1] > 1:
        return _run_with_others(options)
    alone()
    return _run_verb(options)


def _run_with_others(options: argparse.Namespace) -> int:
    """One of the processes of `accelerate launch`: the first one runs the verb, the others help it train."""
    rank, n_processes = launched()
    if options.verb not in TOGETHER:
        if rank:
            return console.BAD_INPUT  # the first one says why
        raise RecipeError(
            f"{options.verb} was started in {n_processes} processes, which only {' and '.join(TOGETHER)} use: leave "
            f"`accelerate launch` out; what was trained in several processes is found there, and not trained again"
        )
    from optimizers.training.processes.helper import serve
    from workbench.progress import silence_libraries

    silence_libraries()
    group = join()
    if rank:
        return serve(group)
    try:
        from workbench.recipe.checks import check_together
        from workbench.recipe.read import read_recipe
        from workbench.run.choose import VERB_STAGES

        check_together(read_recipe(options.recipe), VERB_STAGES.get(options.verb, ()), n_processes, group.sharded)
        return _run_verb(options)
    finally:
        group.leave()


def _run_verb(options: argparse.Namespace) -> int:
    from workbench.recipe.read import read_recipe

    if options.verb in ("dashboard", "predict", "serve"):
        recipe = read_recipe(options.recipe, whole=options.verb != "dashboard")
        from workbench import verbs
        from workbench.progress import Display

        if options.verb == "dashboard":
            verbs.dashboard(recipe, options.port, Display())
        elif options.verb == "serve":
            return verbs.serve(recipe, options.run, options.port)
        else:
            verbs.predict(recipe, options.run, options.text, Display())
        return 0
    read_recipe(options.recipe)  # before anything heavy is imported
    from workbench.api import Run

    given = {name: getattr(options, name) for name in ("force", "minutes", "candidate") if hasattr(options, name)}
    if options.verb == "convert":
        certificate = Run(options.recipe, options.run).convert(options.to, options.quantise, options.force)
        return console.DONE if certificate is None or certificate.holds else console.FOUND_SOMETHING
    if options.verb == "next-rows":
        return _next_rows(options)
    if options.verb == "retrieval":
        given = {name: getattr(options, name) for name in RETRIEVAL if getattr(options, name) is not None}
        Run(options.recipe, options.run).retrieval(**given)
        return 0
    getattr(Run(options.recipe, getattr(options, "run", "")), options.verb)(**given)
    return 0


def _next_rows(options: argparse.Namespace) -> int:
    from workbench.api import Run

    if bool(options.pool) == bool(options.labels):
        raise RecipeError(
            "next-rows needs POOL=unlabelled.csv, rows to choose from, or LABELS=sheet.csv, a sheet that is filled"
        )
    run = Run(options.recipe, options.run)
    names = ("n", "share", "minutes", "out", "text", "force")
    if options.labels:
        # A sheet says of which rows and runs it is.
        given = {name: getattr(options, name) for name in ("run", *names)}
        if unread := [f"--{name}" for name, value in given.items() if value not in (None, "") and value is not False]:
            raise RecipeError(f"next-rows --labels does not take {', '.join(unread)}, which go with --pool: leave out")
        run.take_labels(options.labels)
        return 0
    run.next_rows(options.pool, **{name: value for name in names if (value := getattr(options, name)) is not None})
    return 0


def _new(options: argparse.Namespace) -> int:
    from workbench.first.write import ask_on_terminal, new_recipe
    from workbench.progress import Display

    named = Named(**{one.name: getattr(options, one.name) for one in fields(Named)})
    new_recipe(named, options.force, Display(), ask_on_terminal if sys.stdin.isatty() else None)
    return 0


def _parser() -> tuple[console.Parser, dict[str, console.Parser]]:
    """The whole parser, and that of each verb."""
    parser = console.Parser(prog="python -m workbench", description="From a recipe to a tuned classifier.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, purpose in VERBS.items():
        verb = verbs.add_parser(name, help=purpose, description=purpose)
        verb.set_defaults(verb=name)
        if name == "new":
            _add_new(verb)
            continue
        verb.add_argument("recipe", metavar="RECIPE", help="a TOML file such as runs/homeowner.toml")
        if name == "dashboard":
            verb.add_argument("--port", type=int, default=5000)
            continue
        if name != "synthesize":
            verb.add_argument("--run", default="", help="a run's stamp or folder (default: the newest)")
        if name == "predict":
            verb.add_argument("--text", required=True, help="what to classify")
        elif name == "serve":
            verb.add_argument("--port", type=int, default=8080)
        elif name == "next-rows":
            _add_next_rows(verb)
        elif name == "retrieval":
            for option, said in RETRIEVAL.items():
                verb.add_argument(f"--{option}", type=int if option == "k" else str, help=said)
        elif name != "review":
            verb.add_argument("--force", action="store_true", help="do it again though it is done")
        if name == "demo":
            verb.add_argument(
                "--minutes", type=float, default=0, help="leave out what does not fit (default: the recipe's)"
            )
        if name == "convert":
            verb.add_argument("--to", required=True, help="what to write it for; see docs/leaving.md")
            verb.add_argument("--quantise", default="", help="number format, where a target has several")
        if name == "compare":
            verb.add_argument(
                "--candidate", default="", help="do this candidate again, and leave the others as they are"
            )
        if name == "export":
            verb.add_argument(
                "--candidate", default="", help='a candidate\'s name, "best" or "ship" (default: the newest step)'
            )
    return parser, dict(verbs.choices)


def _add_next_rows(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--pool", default="", help="a file or folder of rows without labels")
    verb.add_argument("--labels", default="", help="a sheet that people filled")
    verb.add_argument("--n", type=int, help="rows to choose (default: 50)")
    verb.add_argument("--share", type=float, help="of them, drawn by chance (default: 0.2)")
    verb.add_argument("--minutes", type=float, help="for the classifier to answer the pool (default: 5)")
    verb.add_argument("--out", help="where the sheet goes as well, .csv or .jsonl")
    verb.add_argument("--text", help="the pool's column of texts (default: the recipe's)")
    verb.add_argument("--force", action="store_true", help="write over --out though it is there")


def _add_new(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("data", metavar="DATA", help="a file, a folder, or a dataset's id (owner/name)")
    verb.add_argument("--test", default="", help="a file or folder whose rows are the test split")
    verb.add_argument("--name", default="", help="of the recipe, runs/NAME.toml (default: the file's)")
    for role in ("text", "label", "group"):
        verb.add_argument(f"--{role}", default="", help=f"the column of the {role}, where it is not found")
    verb.add_argument("--config", default="", help="of a dataset that has several")
    verb.add_argument("--force", action="store_true", help="write the recipe anew though it is there")
