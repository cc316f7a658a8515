"""`python -m bench.four_ways BUNDLE --input rows.jsonl`: one model, asked in four ways over HTTP, on the same rows.

The first two are what most people do with a language model and a list of labels: let it write and see whether that is a
label (free generation), or let it write under a grammar that holds labels only. Both ask llama.cpp's own server for the
untuned model, prompt by prompt, with the token ids that the other engines read. The other two ask `labelwright serve`:
the untuned model with the whole closed set scored, and the tuned bundle. All rows are asked one after another, so times
are those of one client.

Rows are those of the file, so whoever wants an honest number gives rows that tuned nothing.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openai

from bench.load.server import serving
from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, group_keys, read_examples, with_labels_of
from labelwright.engines.llamacpp import LlamaCppEngine
from labelwright.engines.options.grammar import gbnf
from labelwright.engines.servers.answers import read_answer
from labelwright.engines.servers.http import TIMEOUT_S, one_line_errors
from labelwright.errors import DataError, LabelwrightError
from labelwright.files import write_json
from labelwright.models.folders import model_folder
from labelwright.models.gguf import cached_gguf
from labelwright.models.loading import load_tokenizer
from labelwright.models.weights import Base, Predictor
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration
from labelwright.statistics.intervals import bootstrap_intervals
from labelwright.statistics.proportions import Interval, difference_interval, share_interval
from workbench.progress import silence_libraries
from workbench.wording import DASH, parts, percent

FREE, GRAMMAR, CLOSED, TUNED = "free generation", "grammar", "closed set", "tuned bundle"


@dataclass(frozen=True)
class Way:
    """What was answered in one way.

    Attributes
    ----------
    chosen : tuple of int
        The answered label's place, a row; -1 where the answer is no label.
    probs : tuple of tuple of float, optional
        (n_rows, n_labels), where the way gives probabilities.
    ms : tuple of float
        From a request to its answer.
    """

    name: str
    chosen: tuple[int, ...]
    ms: tuple[float, ...]
    probs: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class Measured:
    """A line of the table; shares and their differences with their intervals, of as many rows as groups are worth."""

    name: str
    n_rows: int
    answered: Interval
    accuracy: Interval
    behind_tuned: Interval | None
    log_loss: Interval | None
    ms_p50: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a Markdown table of the four; 0, or 2 where the bundle or the rows are at fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.four_ways", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path, help="a tuned bundle over a language model")
    parser.add_argument("--input", type=Path, required=True, help="labelled rows that tuned nothing")
    parser.add_argument("--text-column", action="append", help="once for each of several (default: the bundle's)")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--group-column", help="rows of one group are not independent; the intervals allow for it")
    parser.add_argument("--rows", type=int, default=200, help="the first so many (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="the numbers as JSON")
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        bundle = load(given.bundle)
        columns = {"text": given.text_column or bundle.task.text, "label": given.label_column}
        columns["group"] = given.group_column
        rows = read_examples(given.input, **columns)
        rows = with_labels_of(bundle.task.names, rows, str(given.input))[: given.rows]
        ways = []
        for way in four_ways(given.bundle, bundle, [row.text for row in rows]):
            ways.append(way)
            print(f"{way.name}: {len(rows)} rows, {sum(way.ms) / 1000:.0f} s", file=sys.stderr, flush=True)
        measured = compare(ways, bundle, rows)
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(measured))
    if given.out is not None:
        write_json(given.out, {"bundle": str(given.bundle), "ways": [asdict(one) for one in measured]})
    return 0


def four_ways(folder: Path, tuned: Bundle, texts: Sequence[str]) -> Iterator[Way]:
    """Ask for every text in all four ways, one way after the other.

    Raises
    ------
    DataError
        A bundle that has no language model, or whose rows bring their own choices.
    """
    if isinstance(tuned.weights, Predictor) or tuned.task.restricts_rows:
        raise DataError(f"{folder}: expected a language model over labels; neither can be left out of the comparison")
    engine = llama_server(tuned.weights.base)
    prompt = Prompt.for_task(tuned.task, engine.template)
    with one_line_errors(engine.url):
        client = openai.OpenAI(base_url=engine.url, api_key="none", max_retries=0, timeout=TIMEOUT_S)
        model = next(iter(client.models.list())).id
        for name, constraint in ((FREE, {}), (GRAMMAR, {"grammar": gbnf(prompt.options)})):
            yield written(name, client, model, engine, prompt, texts, constraint)
    del engine, client
    with tempfile.TemporaryDirectory() as scratch:
        untuned = Path(scratch) / "untuned"
        save(Bundle(tuned.task, prompt, Base(tuned.weights.base), Calibration()), untuned)
        with serving([untuned, folder]) as (url, _):
            client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=TIMEOUT_S)
            with one_line_errors(url):
                ids = [one.id for one in client.models.list()]
                for name, id in zip((CLOSED, TUNED), ids, strict=True):
                    yield served(name, client, id, tuned.task.names, texts)


def llama_server(name: str) -> LlamaCppEngine:
    """llama.cpp on a model in bfloat16, for one client, with as many threads as torch takes in the other server."""
    n_threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or None
    gguf = cached_gguf(model_folder(name), "bf16")
    return LlamaCppEngine(gguf, load_tokenizer(Base(name)), name, slots=1, n_threads=n_threads)


def written(
    name: str,
    client: openai.OpenAI,
    model: str,
    engine: Any,
    prompt: Prompt,
    texts: Sequence[str],
    constraint: Mapping[str, Any],
) -> Way:
    """What a server writes behind each prompt, greedily; a label where its first line plainly means one.

    Parameters
    ----------
    engine : Engine with ``tokens``
        Of the same model, for the token ids of a prompt.
    constraint : mapping
        What holds the server to labels, in its own words; empty for none.
    """
    # Under a grammar a label may come in other tokens than ours, at worst a byte each.
    longest = max(len(option.encode()) if constraint else engine.count_tokens(option) for option in prompt.options) + 2

    def ask(text: str) -> str:
        rendered = prompt.render(text)
        prefix = engine.tokens.prefix(rendered)
        (row,) = engine.tokens.rows([rendered], len(prefix) + longest, [1])
        answer = client.completions.create(
            model=model, prompt=[[*prefix, *row]], max_tokens=longest, temperature=0.0, extra_body=dict(constraint)
        )
        return answer.choices[0].text.strip().split("\n")[0]

    said, ms = _timed(ask, texts)
    meant = [read_answer(one, prompt.answers) for one in said]
    return Way(name, tuple(-1 if one is None else one for one in meant), ms)


def served(name: str, client: openai.OpenAI, model: str, names: Sequence[str], texts: Sequence[str]) -> Way:
    """What a bundle behind `labelwright serve` answers to a chat of one message."""

    def ask(text: str) -> tuple[float, ...]:
        answer = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": text}],
            logprobs=True,
            top_logprobs=len(names),
        )
        logprobs = answer.choices[0].logprobs
        if logprobs is None or not logprobs.content:
            return (0.0,) * len(names)
        shares = {one.token: math.exp(one.logprob) for one in logprobs.content[0].top_logprobs}
        return tuple(shares[one] for one in names)

    probs, ms = _timed(ask, texts)
    return Way(name, tuple(int(np.argmax(one)) if any(one) else -1 for one in probs), ms, tuple(probs))


def compare(ways: Sequence[Way], bundle: Bundle, rows: Sequence[Example]) -> list[Measured]:
    """Every way's numbers on the rows; the last one is what the others are behind."""
    gold = np.array([bundle.task.index(row.label) for row in rows])
    groups = group_keys(rows) if any(row.group for row in rows) else None
    best = np.array(ways[-1].chosen) == gold
    measured = []
    for way in ways:
        chosen = np.array(way.chosen)
        right = chosen == gold
        loss = None
        if way.probs is not None:
            loss = Interval(*bootstrap_intervals(np.array(way.probs), gold, groups)["log_loss"])
        measured.append(
            Measured(
                name=way.name,
                n_rows=len(rows),
                answered=share_interval(chosen >= 0, groups),
                accuracy=share_interval(right, groups),
                behind_tuned=None if way is ways[-1] else difference_interval(best.astype(int) - right, groups),
                log_loss=loss,
                ms_p50=float(np.median(way.ms)),
            )
        )
    return measured


def table(measured: Sequence[Measured]) -> str:
    """The lines as Markdown; shares in percent, 95 % intervals."""
    lines = [
        f"| {measured[0].n_rows} rows | answers that are a label, % | right, % | behind the tuned, points | log loss "
        f"| ms a row, p50 |",
        "|---|---|---|---|---|---|",
    ]
    for one in measured:
        loss = DASH if one.log_loss is None else " ".join(parts(one.log_loss, is_share=False))
        behind = DASH if one.behind_tuned is None else percent(one.behind_tuned)
        lines.append(
            f"| {one.name} | {percent(one.answered)} | {percent(one.accuracy)} | {behind} | {loss} | {one.ms_p50:.0f} |"
        )
    return "\n".join(lines)


def _timed(ask: Callable[[str], Any], texts: Sequence[str]) -> tuple[list[Any], tuple[float, ...]]:
    """Answers to all texts, and each one's milliseconds. The first text is asked once before, for all that it warms."""
    ask(texts[0])
    answers, ms = [], []
    for text in texts:
        start = time.perf_counter()
        answers.append(ask(text))
        ms.append(1000 * (time.perf_counter() - start))
    return answers, tuple(ms)


if __name__ == "__main__":
    sys.exit(main())
