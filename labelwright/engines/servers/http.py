"""What the engines that ask a server share: the client, its key, and errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai

from labelwright.engines.servers.asking import KEY, key_for
from labelwright.errors import ModelError
from labelwright.plain_text import without_secrets

# Requests in flight at a time: enough for a server to fill its batches.
IN_FLIGHT = 16
TIMEOUT_S = 300.0
# Of what is answered 429 or 5xx, or not at all.
RETRIES = 4


def client(url: str) -> openai.OpenAI:
    """A client for an OpenAI-compatible server, with the key that the environment has for it (``key_for``).

    Answers 429 and 5xx are tried again by the client library, with growing pauses.
    """
    return openai.OpenAI(base_url=url, api_key=key_for(url) or "none", timeout=TIMEOUT_S, max_retries=RETRIES)


@contextmanager
def one_line_errors(url: str) -> Iterator[None]:
    """Turn what the client library raises into a ModelError that says what to do."""
    try:
        yield
    except openai.AuthenticationError as error:
        raise ModelError(f"{url} refuses the key: set {KEY} in the environment") from error
    except openai.APITimeoutError as error:
        raise ModelError(f"{url} did not answer within {TIMEOUT_S:.0f} s: look at the server's log") from error
    except openai.APIConnectionError as error:
        raise ModelError(f"{url} cannot be reached: start the server, or correct the recipe's url") from error
    except openai.APIStatusError as error:
        raise ModelError(f"{url} answered {error.status_code}: {reason(error)}") from error


def reason(error: openai.APIStatusError) -> str:
    """The server's own words, on one line, without the key that it may repeat."""
    body = error.body if isinstance(error.body, dict) else {}
    said = body.get("message") or (body.get("error") or {}).get("message") or error.message
    return without_secrets(str(said))


def served_models(server: openai.OpenAI, url: str) -> dict[str, dict[str, Any]]:
    """The models that a server offers: id -> what it says of each beyond the standard."""
    with one_line_errors(url):
        return {model.id: model.model_extra or {} for model in server.models.list()}
