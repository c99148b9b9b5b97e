"""Does a document fit the published schema of packages: as much of JSON Schema as these use."""

import json
from typing import Any

from vedette.wire.package_schema import package_schema


def misfit(value: Any, part: dict[str, Any], root: dict[str, Any], where: str = "$") -> str:
    """Return where a document does not fit a schema; empty where it does.

    Only what the schemas use; an unknown keyword is an error, so that none is passed over.
    """
    if "$ref" in part:
        return misfit(value, root["$defs"][part["$ref"].rpartition("/")[2]], root, where)
    if "anyOf" in part:
        each = [misfit(value, one, root, where) for one in part["anyOf"]]
        return "" if "" in each else each[0]
    known = {"type", "title", "description", "default", "properties", "required", "items", "enum"}
    known |= {"prefixItems", "minItems", "maxItems", "minimum", "maximum", "additionalProperties"}
    assert set(part) <= known, set(part) - known
    if "enum" in part and value not in part["enum"]:
        return f"{where}: {value!r}"
    kinds: dict[str, Any] = {
        "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
        "boolean": bool, "null": type(None),
    }  # fmt: skip
    kind = part.get("type")
    if kind and not isinstance(value, kinds[kind]):
        return f"{where} is no {kind}"
    if kind in {"integer", "number"} and (
        isinstance(value, bool)
        or not part.get("minimum", value) <= value <= part.get("maximum", value)
    ):
        return f"{where}: {value}"
    if kind == "array":
        if not part.get("minItems", 0) <= len(value) <= part.get("maxItems", len(value)):
            return f"{where} has {len(value)}"
        inner = part.get("prefixItems") or [part["items"]] * len(value)
        found = (misfit(v, p, root, f"{where}[]") for v, p in zip(value, inner, strict=True))
        return next(filter(None, found), "")
    if kind == "object":
        fields = part.get("properties", {})
        missing = set(part.get("required", ())) - set(value)
        if missing:
            return f"{where} lacks {min(missing)}"
        rest = part.get("additionalProperties", {})
        found = (misfit(v, fields.get(k, rest), root, f"{where}.{k}") for k, v in value.items())
        return next(filter(None, found), "")
    return ""


def check(name: str, raw: bytes) -> str:
    """Return where a document does not fit its published schema."""
    schema = package_schema(name)
    return misfit(json.loads(raw), {"$ref": schema["$ref"]}, schema)
