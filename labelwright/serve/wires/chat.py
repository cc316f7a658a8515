"""OpenAI's chat completions as a classifier understands them: a request in, a text and its labels out, and back again.

The last user message is the row. Whatever else a chat may hold (other instructions, earlier turns, ways of drawing
tokens) has no part in the answer, for the bundle's own prompt is what was tuned and measured; the answer lists what was
left aside under ``x_ignored``. ``labelwright.serve.wires.openai`` makes routes of it. Nothing here scores anything.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.types import Bundle
from labelwright.data.asked.asking import asking
from labelwright.data.records import listed
from labelwright.data.task import Task
from labelwright.decisions.answered import NO_ANSWER, Record
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.errors import DataError
from labelwright.serve.asked.enumeration import Form, read_schema
from labelwright.serve.asked.values import Answers, as_json, best_of, is_typed, plain_answers, read_answers, schema_of
from labelwright.serve.wires.chat_request import ChatRequest, Message, ResponseFormat
from labelwright.serve.wires.logarithm import log_probability

_SHOWN_LABELS = 8
# What draws, shapes or accounts for tokens elsewhere. A label is neither drawn nor cut short.
_WITHOUT_INFLUENCE = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "max_tokens",
    "max_completion_tokens",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "reasoning_effort",
)


@dataclass(frozen=True)
class Asked:
    """What a chat asks.

    Attributes
    ----------
    text : str
        The row.
    labels : tuple of str
        What may be answered; the row's own choices, where rows bring them; empty where answers are typed.
    form : Form, optional
        What the answer is written into; None writes the label as it is.
    ignored : tuple of str
        What the request holds and the answer does not depend on.
    answers : Answers, optional
        How the answers to a bundle's questions are written, where these are more than one label of a list.
    """

    text: str
    labels: tuple[str, ...]
    form: Form | None = None
    ignored: tuple[str, ...] = ()
    answers: Answers | None = None


@dataclass(frozen=True)
class Said:
    """An answer: the label, its text as it is sent, the probability of every label asked for, and fields beside it.

    Of several questions the label is the text, and the probabilities are by question.
    """

    label: str | None
    content: str | None
    probabilities: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict)


def read_chat(request: ChatRequest, task: Task) -> Asked:
    """What a chat asks of a task's classifier.

    Raises
    ------
    DataError
        No user message, parts that are no text, tools, a schema that no label fits, labels that are not the task's.
        Whether the text can be read, ``labelwright.serve.served`` says.
    """
    if request.tools:
        raise DataError("tools: this model answers with a label and calls nothing; leave tools out")
    users = [number for number, message in enumerate(request.messages) if message.role == "user"]
    if not users:
        raise DataError("messages: none is a user's; expected the text to classify in the last user message")
    text = _text_of(request.messages[users[-1]], users[-1])
    ignored = [f"messages[{n}] ({one.role})" for n, one in enumerate(request.messages) if n != users[-1]]
    given = request.model_dump(exclude_none=True)
    ignored += [name for name in _WITHOUT_INFLUENCE if name in given]
    if is_typed(task):
        return Asked(text, (), None, tuple(ignored), _answers(request.response_format, task))
    form = _form(request.response_format, task)
    return Asked(text, _labels(form, task), form, tuple(ignored))


def answered(
    asked: Asked,
    probs: Sequence[float] | NDArray[np.float64],
    decision: Decision = LIKELIEST,
    outside: Any = None,
    beside: Mapping[str, Any] = MappingProxyType({}),
) -> Said:
    """The answer to what was asked, of the probabilities of its labels, in their order; all 0 where there is none.

    Where the decision abstains, the text is the label that it would have said, for clients that parse it; ``beside``
    (``labelwright.serve.questions.Put.beside``) says that nobody should rely on it.
    """
    row = np.asarray(probs, dtype=np.float64)
    probabilities = dict(zip(asked.labels, row.tolist(), strict=True))
    decided = decision.decide(row[None], outside)
    if (choice := int(decided.choice[0])) < 0:
        return Said(None, None, probabilities)
    label = asked.labels[choice]
    content = label if asked.form is None else as_json(asked.form.filled(label, probabilities[label]))
    return Said(label, content, probabilities, beside)


def answered_questions(answers: Answers, record: Record, bundle: Bundle) -> Said:
    """The answer to a bundle's questions, of a record of ``labelwright.decisions.answered``.

    Where the decision abstains from one, the text has what it would have said, and ``x_abstained`` why, by question.
    """
    if "error" in record:
        return Said(None, None, {})
    best = best_of(bundle.task, record)
    beside: dict[str, Any] = {}
    if bundle.decision.may_abstain:
        beside["x_abstained"] = record.get("abstained")
    if bundle.promise.asked.max_error < 1:
        beside["x_promise"] = bundle.promise.asked.said
    if "label_set" in record:
        beside["x_label_set"] = record["label_set"]
    content, (label, _) = answers.written(best), next(iter(best.values()))
    is_label = len(best) == 1 and isinstance(label, str)
    return Said(label if is_label else content, content, record["probabilities"], beside)


def completion(request: ChatRequest, answer: Said, about: dict[str, Any]) -> dict[str, Any]:
    """The answer as a chat completion.

    Parameters
    ----------
    about : dict
        What ``about`` gives.
    """
    message = {"role": "assistant", "content": answer.content, "refusal": _refusal(answer)}
    choices = [
        {"index": index, "message": message, "logprobs": _logprobs(request, answer), "finish_reason": "stop"}
        for index in range(request.n or 1)
    ]
    head = {key: about[key] for key in ("id", "created", "model", "system_fingerprint")}
    extra = {key: value for key, value in about.items() if key.startswith("x_")}
    return {**head, "object": "chat.completion", "choices": choices, "usage": about["usage"], **extra}


def chunks(request: ChatRequest, answer: Said, about: dict[str, Any]) -> Iterator[str]:
    """The same as a stream of events, the last of which is ``[DONE]``. A label comes whole, in one chunk."""
    head = {key: about[key] for key in ("id", "created", "model", "system_fingerprint")}
    head["object"] = "chat.completion.chunk"
    extra = {key: value for key, value in about.items() if key.startswith("x_")}
    with_usage = request.stream_options is not None and request.stream_options.include_usage

    def event(choices: list[dict[str, Any]], usage: Any = None, **more: Any) -> str:
        # With usage asked for, every chunk has the field, and all but the last say null.
        counted = {"usage": usage} if with_usage else {}
        return f"data: {json.dumps({**head, 'choices': choices, **counted, **more})}\n\n"

    for index in range(request.n or 1):
        for delta, end in (
            ({"role": "assistant", "content": ""}, None),
            ({"content": answer.content} if answer.content is not None else {"refusal": _refusal(answer)}, None),
            ({}, "stop"),
        ):
            logprobs = _logprobs(request, answer) if "role" not in delta and end is None else None
            more = extra if end else {}
            yield event([{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": end}], **more)
    if with_usage:
        yield event([], about["usage"])
    yield "data: [DONE]\n\n"


def about(
    asked: Asked, answer: Said, *, model: str, identity: str, prompt_tokens: int, answer_tokens: int, n: int = 1
) -> dict[str, Any]:
    """What an answer says besides the answer: ids, counts of tokens, and under ``x_`` what only this server knows."""
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": answer_tokens * n,
        "total_tokens": prompt_tokens + answer_tokens * n,
    }
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": f"fp_{identity[:16]}",
        "usage": usage,
        "x_probabilities": dict(answer.probabilities),
        "x_ignored": list(asked.ignored),
        **answer.extra,
    }


def _text_of(message: Message, number: int) -> str:
    parts = [message.content] if isinstance(message.content, str) else []
    for part in message.content if isinstance(message.content, list) else []:
        if part.type != "text" or part.text is None:
            raise DataError(
                f"messages[{number}] has a part of type {part.type[:40]!r}: this model reads text and nothing else"
            )
        parts.append(part.text)
    return "\n".join(parts)


def _form(wanted: ResponseFormat | None, task: Task) -> Form | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        labels = asking(task).known
        return read_schema({"properties": {"label": {"enum": list(task.names)}}}) if labels else None
    return read_schema(_schema_of(wanted))


def _answers(wanted: ResponseFormat | None, task: Task) -> Answers:
    """The same of a bundle's questions."""
    if wanted is None or wanted.type == "text":
        return plain_answers(task)
    return read_answers(schema_of(task) if wanted.type == "json_object" else _schema_of(wanted), task)


def _schema_of(wanted: ResponseFormat) -> Any:
    schema = (wanted.json_schema or {}).get("schema")
    if schema is None:
        raise DataError("response_format: json_schema has no schema; expected {name, schema}")
    return schema


def _labels(form: Form | None, task: Task) -> tuple[str, ...]:
    """What may be answered: the task's labels or some of them; where rows bring their choices, what the form lists."""
    if asking(task).known is None:
        if form is None:
            raise DataError(
                "this model chooses among each row's own choices: expected them as the enum of a JSON schema in "
                "response_format"
            )
        if not 2 <= len(form.values) <= task.max_choices:
            raise DataError(
                f"response_format lists {len(form.values)} choices: this model chooses among 2 to {task.max_choices}"
            )
        return form.values
    labels = task.names if form is None else form.values
    foreign = [label for label in labels if label not in task.names]
    if foreign:
        raise DataError(
            f"response_format lists {listed([repr(one[:60]) for one in foreign], 3)}, which this model does not know; "
            f"expected its labels or some of them: {listed(map(repr, task.names), _SHOWN_LABELS)}"
        )
    return labels


def _logprobs(request: ChatRequest, answer: Said) -> dict[str, Any] | None:
    """The label as one token with its log-probability, and the likeliest labels beside it."""
    if not request.logprobs or answer.label is None or answer.label not in answer.probabilities:
        return None
    ranked = sorted(answer.probabilities.items(), key=lambda one: -one[1])
    tokens = {name: _token(name, share) for name, share in ranked}
    top = list(tokens.values())[: request.top_logprobs or 0]
    return {"content": [{**tokens[answer.label], "top_logprobs": top}], "refusal": None}


def _token(name: str, share: float) -> dict[str, Any]:
    return {"token": name, "logprob": log_probability(share), "bytes": list(name.encode("utf-8", "surrogatepass"))}


def _refusal(answer: Said) -> str | None:
    return NO_ANSWER if answer.label is None else None
