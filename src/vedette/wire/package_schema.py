"""The JSON Schema of the documents in an evidence package, made from the structs that write them.

Pure. The rules: what stands in a docstring about a field stands in the schema beside it; fields
that are added later are allowed, because whoever reads a package reads newer ones too.

Source: JSON Schema draft 2020-12.
"""

import inspect
import re
from typing import Any, Final, cast

import msgspec

from vedette.wire.evidence import BlurredFacts, Facts, PackageSignature, Statement

DOCUMENTS: Final[dict[str, type[msgspec.Struct]]] = {
    "evidence.json": Facts,
    "blurred.json": BlurredFacts,
    "signature.json": PackageSignature,
    "statement": Statement,
}
"""By name; `statement` is what `document.payload` of a signature holds, in base64url."""

_NAMES = re.compile(r"    ([a-z_][a-z0-9_]*(?:, [a-z_][a-z0-9_]*)*): (.*)")


def package_schema(name: str) -> dict[str, Any]:
    """Return the schema of one of `DOCUMENTS`."""
    (schema,), parts = msgspec.json.schema_components(
        [DOCUMENTS[name]], ref_template="#/$defs/{name}"
    )
    for part in parts.values():
        _explain(part)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"vedette evidence: {name}",
        **schema,
        "$defs": dict(sorted(parts.items())),
    }


def _explain(part: dict[str, Any]) -> None:
    """Put each line about a field where the field is."""
    text, fields = explained(cast("str", part.get("description", "")))
    if text:
        part["description"] = text
    for name, meaning in fields.items():
        held = part.get("properties", {}).get(name)
        if held is not None:
            held.setdefault("description", meaning)


def explained(doc: str) -> tuple[str, dict[str, str]]:
    """Return a docstring's text, and its meaning of each attribute."""
    text, _, attributes = inspect.cleandoc(doc).partition("\nAttributes:\n")
    fields: dict[str, str] = {}
    names: list[str] = []
    for line in attributes.splitlines():
        found = _NAMES.fullmatch(line)
        if found:
            names = found[1].split(", ")
            fields |= dict.fromkeys(names, found[2])
        elif line.startswith("        "):
            fields |= {name: f"{fields[name]} {line.strip()}" for name in names}
        else:
            names = []
    return " ".join(text.split()), fields
