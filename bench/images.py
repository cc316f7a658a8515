"""`python -m bench.images MODEL`: rows with images, the packed way against the model's own forward passes.

Each row is a homeowner's question (train and dev, never test) under an image of noise, asked for its topic. The slow
ways are ``labelwright.engines.images.plain``'s: one pass for each row and option, which is the reference, and one for
each row with its options behind what the model keeps of it. Scores are compared, and times taken in turn.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.timing import Measurement, Side, pairwise, ratio, seconds_of, take_turns
from labelwright.engines.images.plain import score_batched, score_whole
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import LabelwrightError
from labelwright.models.weights import Base
from labelwright.pictures.content import keep_image
from labelwright.pictures.imaged import imaged
from labelwright.prompt import Prompt, Rendered
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows, task_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a measurement; 0, or 2 where the model or the recipe is at fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.images", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="a vision-language model: a folder, or a Hugging Face id")
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--rows", type=int, default=4, help="that each way is asked (default: %(default)s)")
    parser.add_argument("--size", type=int, nargs=2, default=(512, 384), help="of the images (default: 512 384)")
    parser.add_argument("--dtype", default="float32", help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for found in measure(given, Path(folder)):
                print(told(found))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(given: argparse.Namespace, folder: Path) -> list[Measurement]:
    """The ratios: rows per second of the packed way over those of each slow one."""
    settings = EngineSettings(dtype=given.dtype, unexpanded_mass=0.0)
    engine = TransformersEngine.open(Base(given.model), settings)
    prompts, options = asked_of(given, engine)
    slow: dict[str, Any] = {"batched": score_batched, "whole": score_whole}
    packed = engine.score(prompts, options)
    off = {name: float(np.abs(as_slow(engine, way, prompts, options) - packed).max()) for name, way in slow.items()}
    one_image = [prompt._replace(image=prompts[0].image) for prompt in prompts]

    def rate(ask: Callable[[], Any], fresh: bool = True) -> float:
        if fresh:
            engine.forget()
        return len(prompts) / seconds_of(ask)

    sides: dict[str, Callable[[], float]] = {
        "packed": lambda: rate(lambda: engine.score(prompts, options)),
        "packed, images seen before": lambda: rate(lambda: engine.score(prompts, options), fresh=False),
        "packed, one image": lambda: rate(lambda: engine.score(one_image, options)),
        "batched": lambda: rate(lambda: as_slow(engine, score_batched, prompts, options)),
        "whole": lambda: rate(lambda: as_slow(engine, score_whole, prompts, options)),
    }
    taken = take_turns(sides, given.rounds)
    seen = engine.images.see(prompts[0].image, engine.tokens.image_markup(prompts[0])) if engine.images else None
    facts = {"image_tokens": len(seen.tokens) if seen else 0, "rows": len(prompts), "options": len(options), "off": off}
    found = {name: Side("rows/s", tuple(values)) for name, values in taken.items()}
    return [
        ratio(f"{fast} over {name}", pairwise(taken[fast], taken[name]), sides=found, facts=facts)
        for fast in ("packed", "packed, images seen before", "packed, one image")
        for name in slow
    ]


def asked_of(given: argparse.Namespace, engine: TransformersEngine) -> tuple[list[Rendered], tuple[str, ...]]:
    """Rows' prompts and the options, the images kept in the cache folder."""
    recipe = read_recipe(given.recipe)
    rows = read_rows(recipe)
    splits = make_splits(rows, recipe.splits, recipe.seed).for_tuning()
    prompt = replace(Prompt.for_task(task_of(recipe, rows), engine.template), images=True)
    chance, (width, high) = np.random.default_rng(0), given.size
    texts = [
        imaged(row.text, keep_image(_noise(chance, width, high))) for row in (*splits.train, *splits.dev)[: given.rows]
    ]
    return prompt.render_all(texts), prompt.options


def as_slow(engine: TransformersEngine, way: Any, prompts: Sequence[Rendered], options: Sequence[str]) -> Any:
    """Scores in a slow way."""
    before, engine.slow = engine.slow, way
    try:
        return engine.score(prompts, options)
    finally:
        engine.slow = before


def told(found: Measurement) -> str:
    """One line."""
    facts = found.facts
    return (
        f"{found.name}: {found.value:.1f} times ({found.low:.1f} to {found.high:.1f}) the rows a second; "
        f"{facts['rows']} rows, {facts['image_tokens']} tokens an image, {facts['options']} options; scores differ by "
        f"at most {max(facts['off'].values()):.1g}"
    )


def _noise(chance: np.random.Generator, width: int, high: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(chance.integers(0, 256, (high, width, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
