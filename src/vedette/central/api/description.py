"""What the OpenAPI document says beyond the types of the routes: failures, limits, examples.

Litestar describes parameters, bodies and answers from the handlers; every operation of `/v1` fails
in the same ways, which are put in here once. Pure: a document in, a document out. The rule: what is
written here is what `problems` and `access` do; `tests/integration/test_api_schema.py` holds it.
"""

import copy
from typing import Any, Final

from vedette.central.api.problems import MEDIA_TYPE

_WORDS: Final[dict[int, tuple[str, str]]] = {
    400: ("Not understood", "from_ms must be before to_ms"),
    401: ("Sign in first", "sign in, or show an API token that still holds"),
    403: ("Not allowed", "this takes the role operator; yours is viewer"),
    404: ("Not found", "there is no such site"),
    406: ("Not in that form", "the answer is application/json"),
    409: ("Somebody else was first", "these settings were changed since you read them"),
    412: ("Changed meanwhile", "it was changed since you read it: read it again"),
    413: ("Too large", "a body of more than 1 MB"),
    415: ("Not in that form", "send the body as application/json"),
    422: ("It did not work", "zone door: a polygon has 3 to 32 corners"),
    429: ("Too often", "too many requests; come back in a minute"),
    503: ("Not ready", "the database does not answer; try again shortly"),
}
_ALWAYS: Final = (400, 401, 403, 404, 406, 429, 503)
_WITH_BODY: Final = (409, 413, 415, 422)

_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457; `type` is left out and means about:blank: the status says it.",
    "required": ["title", "status"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong and what to do about it"},
        "instance": {"type": "string", "description": "An id that stands in central's log"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
_SHARE: Final = {
    "RateLimit-Limit": "Requests that may come at once",
    "RateLimit-Remaining": "Of these still left",
    "RateLimit-Reset": "Seconds until all of them are there again",
}
_LINK: Final = {
    "description": 'Where the list goes on, as `</v1/…>; rel="next"` (RFC 8288); not on the last',
    "schema": {"type": "string"},
}
_ETAG: Final = {"description": "What this is, in short", "schema": {"type": "string"}}
_IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "description": "An `ETag`: 304 without a body where it is still so",
    "schema": {"type": "string"},
    "required": False,
}
_TAGGED: Final = frozenset({"/v1/sites/{site}/devices/{device}/cameras/{camera}/settings"})
_EXAMPLES: Final = {
    "site": "lisbon", "device": "lisbon-1", "camera": "door", "limit": 100, "q": "folder:europe/**",
}  # fmt: skip


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with every operation's failures, limits and common examples."""
    made = copy.deepcopy(document)
    components = made.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    responses = components.setdefault("responses", {})
    for status, (title, detail) in _WORDS.items():
        responses[f"Problem{status}"] = _response(status, title, detail)
    for path, item in made.get("paths", {}).items():
        for method, operation in item.items():
            if path.startswith("/v1/") and isinstance(operation, dict):
                _complete(path, method, operation)
    return made


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    answers = operation.setdefault("responses", {})
    for status, answer in answers.items():
        if status.startswith("2"):
            answer.setdefault("headers", {}).update(_share_headers())
            if any(one.get("name") == "cursor" for one in operation.get("parameters", ())):
                answer["headers"]["Link"] = _LINK
    changes = method in {"post", "put", "patch", "delete"}
    names = {one.get("name") for one in operation.get("parameters", ())}
    if method == "get" and ("cursor" in names or path in _TAGGED):
        operation.setdefault("parameters", []).append(_IF_NONE_MATCH)
        answers["200"]["headers"]["ETag"] = _ETAG
        answers["304"] = {"description": "As it is in `If-None-Match`", "headers": {"ETag": _ETAG}}
    failures = [*_ALWAYS, *(_WITH_BODY if changes else ())]
    if "If-Match" in names:
        failures.append(412)
    for status in failures:
        answers[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    for parameter in operation.get("parameters", ()):
        if parameter.get("name") in _EXAMPLES and "examples" not in parameter:
            parameter["example"] = _EXAMPLES[parameter["name"]]


def _response(status: int, title: str, detail: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": title,
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": {"title": title, "status": status, "detail": detail},
            }
        },
    }
    if status in {429, 503}:
        seconds = {"type": "integer", "minimum": 0}
        made["headers"] = {
            "Retry-After": {"description": "Seconds to wait at least", "schema": seconds}
        }
    return made


def _share_headers() -> dict[str, Any]:
    seconds = {"type": "integer", "minimum": 0}
    return {name: {"description": words, "schema": seconds} for name, words in _SHARE.items()}
