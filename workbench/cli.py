"""`python -m workbench <verb> RECIPE`: arguments in, one line out where something is wrong.

Exit status: 0 done, 2 the input's fault, 3 something unexpected, 130 interrupted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from labelwright import console
from labelwright.plain_text import shell_word

VERBS = {
    "demo": "everything: stages, comparison, bundle",
    "optimize": "the prompt (GEPA)",
    "train": "the weights (GRPO)",
    "calibrate": "the probabilities",
    "compare": "score every candidate on test, write the report",
    "export": "write, verify and register the bundle",
    "predict": "ask the run's bundle",
    "dashboard": "MLflow's UI on the store",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    options = _parser().parse_args(arguments)
    given = shell_word(options.recipe)
    again = f"make {options.verb} RECIPE={given}, or python -m workbench {options.verb} {given}"
    interrupted = f"interrupted; the same command continues: {again}"
    return console.run(lambda: _run(options), "labelwright", interrupted)


def _run(options: argparse.Namespace) -> int:
    from workbench.recipe.read import read_recipe

    recipe = read_recipe(options.recipe, whole=options.verb != "dashboard")
    from workbench import demo, verbs
    from workbench.progress import Display

    display = Display()
    if options.verb == "dashboard":
        verbs.dashboard(recipe, options.port, display)
    elif options.verb == "predict":
        verbs.predict(recipe, options.run, options.text, display)
    elif options.verb in ("optimize", "train", "calibrate"):
        verbs.tune(recipe, options.verb, options.run, options.force, display)
    elif options.verb == "demo":
        demo.demo(recipe, options.run, options.force, display, options.minutes)
    else:
        work = {"compare": verbs.compare, "export": verbs.export}[options.verb]
        work(recipe, options.run, options.force, display, options.candidate)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = console.Parser(prog="python -m workbench", description="From a recipe to a tuned classifier.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, purpose in VERBS.items():
        verb = verbs.add_parser(name, help=purpose, description=purpose)
        verb.add_argument("recipe", metavar="RECIPE", help="a TOML file such as runs/homeowner.toml")
        if name == "dashboard":
            verb.add_argument("--port", type=int, default=5000)
            continue
        verb.add_argument("--run", default="", help="a run's stamp or folder (default: the newest)")
        if name == "predict":
            verb.add_argument("--text", required=True, help="what to classify")
        else:
            verb.add_argument("--force", action="store_true", help="do it again though it is done")
        if name == "demo":
            verb.add_argument(
                "--minutes", type=float, default=0, help="leave out what does not fit (default: the recipe's)"
            )
        if name == "compare":
            verb.add_argument(
                "--candidate", default="", help="do this candidate again, and leave the others as they are"
            )
        if name == "export":
            verb.add_argument(
                "--candidate", default="", help='a candidate\'s name, "best" or "ship" (default: the newest step)'
            )
    return parser
