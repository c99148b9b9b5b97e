"""Typed configuration: one frozen tree from one YAML file.

A program's configuration is a tree of frozen msgspec structs. Every entry is declared with
`entry(help, …)`, so it has a type, a default or is required, a unit and words that explain it; the
JSON Schema for editors and the reference page are made from the same declarations. Errors name the
file, the line and the key, and say what to write instead.

Not here: where a program's tree is declared (`edge.settings`, `central.settings`).
"""

import difflib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import yaml

from vedette.errors import ConfigError

T = TypeVar("T")

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_NODES: Final = 50_000
MAX_DEPTH: Final = 24


def entry(
    help_text: str,
    *,
    unit: str | None = None,
    examples: list[Any] | None = None,
    **limits: Any,
) -> msgspec.Meta:
    """Return what explains one entry.

    Used as `width: Annotated[float, entry("Width of the belt", unit="m", gt=0)] = 1.0`.


    `limits` are those of msgspec (`ge`, `gt`, `le`, `lt`, `min_length`, `max_length`, `pattern`).
    """
    extra = {"unit": unit} if unit else None
    return msgspec.Meta(
        description=help_text, examples=examples, extra_json_schema=extra, extra=extra, **limits
    )


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the reference page."""

    path: str
    type: str
    default: str
    unit: str
    help: str


def load(path: Path, kind: type[T]) -> T:
    """Return the configuration that the YAML file at `path` holds.

    Raises:
        ConfigError: Unreadable, not YAML, or a key or value that the tree does not allow; the
            message names file, line and key, the hint says what to write instead.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ConfigError(f"{path}: {size} bytes; a configuration has at most {MAX_FILE_BYTES}")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text", operator_hint="save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            operator_hint="give the path of a YAML file with --config",
        ) from error
    return parse(text, kind, name=str(path))


def parse(text: str, kind: type[T], *, name: str = "configuration") -> T:
    """Return the configuration that YAML `text` holds; `name` stands for the file in errors.

    Raises:
        ConfigError: As `load`.
    """
    return parse_lines(text, kind, name=name)[0]


def parse_lines(
    text: str, kind: type[T], *, name: str = "configuration"
) -> tuple[T, Callable[[tuple[str, ...]], str]]:
    """As `parse`, and with it what says in which line (`:12`) an entry stands, by its path.

    Raises:
        ConfigError: As `load`.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "nested too deeply"
        raise ConfigError(f"{name}{line}: not valid YAML: {problem}") from error
    if root is None:
        data: Any = {}
        lines: dict[tuple[str, ...], int] = {}
    else:
        lines = {}
        budget = [MAX_NODES]
        data = _plain(root, (), lines, budget, name)
    _refuse_unknown(data, kind, (), lines, name)
    try:
        found = msgspec.convert(data, kind, strict=True, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        where, what = _explain(str(error))
        line = _line_of(where, lines)
        key = ".".join(where) or "the file"
        raise ConfigError(
            f"{name}{line}: {key}: {what}", operator_hint=_hint(kind, where)
        ) from error
    return found, lambda path: _line_of(path, lines)


def _plain(
    node: yaml.Node,
    path: tuple[str, ...],
    lines: dict[tuple[str, ...], int],
    budget: list[int],
    name: str,
) -> Any:
    """Return plain data for a YAML node and remember the line of every path."""
    budget[0] -= 1
    line = node.start_mark.line + 1 if node.start_mark else 0
    if budget[0] < 0 or len(path) > MAX_DEPTH:
        raise ConfigError(f"{name}:{line}: too large or nested too deeply for a configuration")
    lines.setdefault(path, line)
    if isinstance(node, yaml.MappingNode):
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in out:
                line = key_node.start_mark.line + 1
                raise ConfigError(
                    f"{name}:{line}: {'.'.join((*path, key))} stands twice",
                    operator_hint="keep one of the two",
                )
            lines[(*path, key)] = key_node.start_mark.line + 1
            out[key] = _plain(value_node, (*path, key), lines, budget, name)
        return out
    if isinstance(node, yaml.SequenceNode):
        return [
            _plain(item, (*path, str(index)), lines, budget, name)
            for index, item in enumerate(node.value)
        ]
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{name}:{line}: {'.'.join(path)}: {str(node.value)[:64]!r} cannot be read",
            operator_hint="put text that looks like a date or a tag into quotes",
        ) from error


def _from_text(kind: type, value: Any) -> Any:
    """Return a `Path` for text: the one type of ours that YAML does not know."""
    if kind is Path and isinstance(value, str) and value:
        return Path(value).expanduser()
    raise msgspec.ValidationError(f"Expected `{kind.__name__}`, got `{value!r}`")


def _schema_of(kind: type) -> dict[str, Any]:
    if kind is Path:
        return {"type": "string", "format": "path"}
    raise TypeError(f"no JSON Schema for {kind}")


def _meta(hint: Any) -> msgspec.Meta | None:
    """Return the explanation that `hint`, or an option of it, was annotated with."""
    for candidate in (hint, *get_args(hint)):
        for meta in getattr(candidate, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta):
                return meta
    return None


def _strip(hint: Any) -> Any:
    """Return the type inside `Annotated[…]` and `X | None`."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    options = [option for option in get_args(hint) if option is not type(None)]
    if get_origin(hint) not in {list, dict, tuple, Literal} and len(options) == 1:
        return _strip(options[0])
    return hint


def _hints(kind: Any) -> dict[str, Any]:
    """Return the types of a struct's fields by the names that they have in a file."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.encode_name: hints[field.name] for field in msgspec.structs.fields(kind)}


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _refuse_unknown(
    data: Any,
    hint: Any,
    path: tuple[str, ...],
    lines: dict[tuple[str, ...], int],
    name: str,
) -> None:
    """Raise for the first key that the tree does not have, suggesting the nearest one."""
    hint = _strip(hint)
    if _is_struct(hint) and isinstance(data, dict):
        hints = _hints(hint)
        for key, value in data.items():
            if key not in hints:
                line = _line_of((*path, key), lines)
                close = difflib.get_close_matches(key, hints, n=1, cutoff=0.5)
                advice = f"did you mean {close[0]!r}? " if close else ""
                raise ConfigError(
                    f"{name}{line}: {'.'.join((*path, key))}: no such key",
                    operator_hint=f"{advice}here you can write: {', '.join(sorted(hints))}",
                )
            _refuse_unknown(value, hints[key], (*path, key), lines, name)
    elif get_origin(hint) is list and isinstance(data, list):
        for index, item in enumerate(data):
            _refuse_unknown(item, get_args(hint)[0], (*path, str(index)), lines, name)
    elif get_origin(hint) is dict and isinstance(data, dict):
        for key, item in data.items():
            _refuse_unknown(item, get_args(hint)[1], (*path, key), lines, name)


def _explain(message: str) -> tuple[tuple[str, ...], str]:
    """Return (path, problem) from msgspec's ``Expected `int`, got `str` - at `$.a[0].b` ``."""
    what, _, where = message.partition(" - at `$")
    where = where.rstrip("`").replace("[", ".").replace("]", "")
    path = tuple(part for part in where.split(".") if part)
    return path, what.replace("`", "").replace("Object missing required field", "this is missing:")


def _line_of(path: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> str:
    """Return `:12` for a path, or for the nearest thing around it."""
    while path not in lines and path:
        path = path[:-1]
    return f":{lines[path]}" if path in lines else ""


def _hint(kind: type, path: tuple[str, ...]) -> str | None:
    """Return the help of the entry at `path`."""
    wanted = ".".join("[]" if part.isdigit() else part for part in path).replace(".[]", "[]")
    for item in reference(kind):
        if item.path == wanted:
            unit = f" in {item.unit}" if item.unit else ""
            default = f" (default {item.default})" if item.default else ""
            return f"{item.path} takes {item.type}{unit}{default}: {item.help}"
    return None


def json_schema(kind: type) -> dict[str, Any]:
    """Return the JSON Schema of a configuration tree, for editors."""
    schema = msgspec.json.schema(kind, schema_hook=_schema_of)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for definition in schema.get("$defs", {}).values():
        if definition.get("type") == "object" and "properties" in definition:
            definition.setdefault("additionalProperties", False)
    return schema


def reference(kind: type) -> list[Entry]:
    """Return every entry of a configuration tree, parents before children."""
    return list(_walk(kind, ""))


def _walk(kind: Any, prefix: str) -> Iterator[Entry]:
    hints = _hints(kind)
    for field in msgspec.structs.fields(kind):
        hint = hints[field.encode_name]
        meta = _meta(hint)
        inner = _strip(hint)
        path = f"{prefix}{field.encode_name}"
        yield Entry(
            path=path,
            type=_type_name(hint),
            default=_default(field),
            unit=str((meta.extra or {}).get("unit", "")) if meta else "",
            help=(meta.description or "") if meta else "",
        )
        if _is_struct(inner):
            yield from _walk(inner, f"{path}.")
        elif get_origin(inner) is list and _is_struct(_strip(get_args(inner)[0])):
            yield from _walk(_strip(get_args(inner)[0]), f"{path}[].")


def _type_name(hint: Any) -> str:
    optional = type(None) in get_args(hint) or any(
        type(None) in get_args(arg) for arg in get_args(hint)
    )
    inner = _strip(hint)
    if _is_struct(inner):
        name = "a block"
    elif get_origin(inner) is list:
        name = f"a list of {_type_name(get_args(inner)[0]).removeprefix('a ')}"
    elif get_origin(inner) is Literal:
        # A number that may also stand in quotes is one value to the reader.
        name = "one of " + ", ".join(dict.fromkeys(map(str, get_args(inner))))
    elif get_origin(inner) in {dict, tuple}:
        name = str(get_origin(inner).__name__)
    else:
        plain = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
        name = plain.get(
            inner,
            "one of " + ", ".join(map(str, inner))
            if hasattr(inner, "__members__")
            else str(getattr(inner, "__name__", inner)),
        )
    return f"{name} or null" if optional else name


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        return msgspec.json.encode(field.default).decode()
    if field.default_factory is not msgspec.NODEFAULT:
        made = field.default_factory()
        return "" if isinstance(made, msgspec.Struct) else msgspec.json.encode(made).decode()
    return "required"
