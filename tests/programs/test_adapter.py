import dspy
import pytest
from dspy.lm15 import Message, Response, TextPart, Usage
from dspy.utils.exceptions import AdapterParseError
from fakes import toy_task

from labelwright.prompt import Label, Prompt, Template
from programs.adapter import LabelAdapter
from programs.convert import program_of


class TextBackend:
    """A language model that says what it is told to, and keeps what it was asked."""

    def __init__(self, reply):
        self.reply = reply
        self.requests = []

    def complete(self, request):
        self.requests.append(request)
        return Response(
            id=None, model="fake", message=Message.assistant([TextPart(self.reply)]), finish_reason="stop",
            usage=Usage(input_tokens=0, output_tokens=0, total_tokens=0),
        )  # fmt: skip


def ask(reply, prompt):
    backend = TextBackend(reply)
    lm = dspy.LM("fake/model", engine=backend, cache=False)
    with dspy.context(lm=lm, adapter=LabelAdapter(prompt)):
        return program_of(prompt, toy_task())(text="the gate is stuck"), backend


def toy_prompt(**kwargs):
    return Prompt("Name the topic.", toy_task().labels, template=Template(), **kwargs)


def test_messages_are_the_prompts_system_text_and_the_row():
    prompt = toy_prompt(demos=(("my pool", "pool"),))
    _, backend = ask("fence", prompt)
    (request,) = backend.requests
    system = request.system if isinstance(request.system, str) else "".join(part.text for part in request.system)
    assert system == prompt.system
    assert [(message.role, message.text) for message in request.messages] == [("user", "the gate is stuck")]


@pytest.mark.parametrize("reply", ["fence", " Fence\n", "FENCE"])
def test_case_and_space_do_not_matter(reply):
    prediction, _ = ask(reply, toy_prompt())
    assert prediction.label == "fence"
    assert prediction.probabilities == {}


@pytest.mark.parametrize("reply", ["fence.", "It is a fence", "fence or pool", "fences", "wall", '{"label": "fence"}'])
def test_anything_else_is_no_answer_and_is_asked_once(reply):
    backend = TextBackend(reply)
    lm = dspy.LM("fake/model", engine=backend, cache=False)
    with (
        dspy.context(lm=lm, adapter=LabelAdapter(toy_prompt())),
        pytest.raises(AdapterParseError, match="nothing else"),
    ):
        program_of(toy_prompt(), toy_task())(text="x")
    assert len(backend.requests) == 1


def test_codes_are_read_back_as_labels():
    prompt = toy_prompt(style="code")
    prediction, _ = ask(prompt.answers[1].lower(), prompt)
    assert prediction.label == "fence"


def test_labels_that_differ_in_case_only():
    prompt = Prompt("Pick.", (Label("US"), Label("us")))
    adapter = LabelAdapter(prompt)
    signature = dspy.Signature("text -> label")
    assert adapter.parse(signature, "us") == {"label": "us"}
    with pytest.raises(AdapterParseError):
        adapter.parse(signature, "Us")
