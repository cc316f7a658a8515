"""A request's body, read with limits and without trust, and answers as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from labelwright.reading import parse_json
from labelwright.serve.service import RefusalError

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
# Of a charset that is declared; ASCII is a part of it.
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
# As deep as a state may be; deeper is no state but an attempt.
_DEEPEST = 64


def media_type_of(request: Request) -> str:
    """What a request says that its body is, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, *media_types: str) -> bytes:
    """The body of a request, of one of the media types.

    A browser sends JSON to another site only after having asked, which is answered with no: the type is what keeps a
    web page from using a server on the reader's own machine.

    Raises
    ------
    RefusalError
        415 for another media type or charset, or a packed body.
    """
    media_type = media_type_of(request)
    if media_type not in media_types:
        expected = " or ".join(media_types)
        raise RefusalError(415, "invalid_request", f"content-type {media_type[:80]!r}: expected {expected}")
    for parameter in request.headers["content-type"].lower().split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in _UTF_8:
            raise RefusalError(415, "invalid_request", f"charset {value.strip()[:80]!r}: send the body in UTF-8")
    if (packed := request.headers.get("content-encoding", "identity").strip().lower()) not in ("identity", ""):
        raise RefusalError(415, "invalid_request", f"content-encoding {packed[:80]!r}: send the body as it is")
    # The gate counts what is read, whether a length was declared or not.
    return await request.body()


async def read_json(request: Request) -> Any:
    """The JSON value of a request's body.

    Raises
    ------
    RefusalError
        As ``read_body``; 422 for what is not JSON, or holds NaN, numbers that no double holds, half characters, or
        lists within lists without end. The message quotes none of it.
    """
    body = await read_body(request, JSON)
    try:
        value = parse_json(body)
    except UnicodeDecodeError as error:
        raise _not_json("not UTF-8", error.start) from None
    except json.JSONDecodeError as error:
        raise _not_json(error.msg, error.pos) from None
    except ValueError as error:
        raise _not_json(str(error), 0) from None
    if body.count(b"[") + body.count(b"{") > _DEEPEST and _depth(value) > _DEEPEST:
        raise _not_json(f"nested more than {_DEEPEST} deep", 0)
    return value


def described(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """A request's body for the OpenAPI document, as a route takes it: a JSON Schema for each media type."""
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


def json_answer(value: Any, status: int = 200) -> Response:
    """A value as a JSON response."""
    # Half characters have been refused on the way in; this is for those of our own making.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "backslashreplace"), status, media_type="application/json")


def _not_json(reason: str, at: int) -> RefusalError:
    fault = {"loc": ["body", at], "msg": f"JSON decode error: {reason}", "type": "json_invalid"}
    return RefusalError(422, "invalid_request", f"the body is not JSON ({reason} at {at})", [fault])


def _depth(value: Any) -> int:
    """How many lists and objects stand within each other."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth
