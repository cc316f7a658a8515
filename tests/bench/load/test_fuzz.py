"""What a server's log says of a fuzzer's requests, and what is said where there is no fuzzer."""

import importlib.util
import json

import pytest

from bench.load import fuzz
from bench.load.fuzz import Found


def log(*statuses):
    return [json.dumps({"status": status}) + "\n" for status in statuses]


@pytest.mark.parametrize(
    ("lines", "lives", "problems"),
    [
        (log(200, 422, 404, 503), True, []),
        (log(200, 500, 500, 502), True, ["2 answers of status 500", "1 answers of status 502"]),
        ([*log(200), "WARNING: Invalid HTTP request received.\n"], True, []),
        ([*log(200), "Traceback (most recent call last):\n"], True, ["a stack trace in the log"]),
        (log(200), False, ["the server ended"]),
        ([], True, ["nothing was asked"]),
    ],
)
def test_a_5xx_a_stack_trace_and_an_end_are_problems(lines, lives, problems):
    found = Found.of(lines, lives)
    assert found.problems == problems
    assert (problems or ["no request got a 5xx"])[0] in found.report(3.0)


def test_without_schemathesis_one_line_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert fuzz.main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install -c constraints.txt schemathesis" in line
