"""Write `docs/reference/` from the code: what can be configured, sent, typed and asked.

    python tools/reference.py           write the pages
    python tools/reference.py --check   exit 1 where a page is out of date

`tests/docs/test_reference.py` does the same check, so a page cannot tell anything but the code.
"""

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import click
import msgspec
from litestar import Litestar

from vedette import config
from vedette.central.api import routes
from vedette.central.device_api import DeviceApi
from vedette.central.query.catalogue import METRICS, STATS
from vedette.central.settings import CentralConfig
from vedette.cli.main import cli
from vedette.edge.settings import EdgeConfig
from vedette.trust.site_policy import PolicyFile
from vedette.wire import limits, streams
from vedette.wire.package_schema import DOCUMENTS, package_schema
from vedette.wire.signed import CameraAddress, Line, PixelPolicy, Zone

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- Written by tools/reference.py (`make docs`). Do not edit. -->\n"

SUMMARIES = {
    ("POST", "/v1/up"): "A batch of messages; the answer acknowledges what is committed.",
    ("GET", "/-/healthz"): "Whether central and its database answer.",
}
"""What the docstrings of these two handlers' classes cannot say in one line."""


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or say which are out of date."""
    made = pages()
    if "--check" in arguments:
        old = stale(made)
        for name in old:
            print(f"out of date: docs/reference/{name} (run `make docs`)")
        return 1 if old else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}")
    return 0


def pages() -> dict[str, str]:
    """Return every page by file name."""
    return {
        "configuration.md": configuration(),
        "streams.md": streams_page(),
        "cli.md": command_line(),
        "api.md": api(),
        "metrics.md": metrics(),
        "evidence-package.md": evidence_page(),
        "evidence.schema.json": json.dumps(package_schema("evidence.json"), indent=1) + "\n",
        "edge.schema.json": schema(EdgeConfig),
        "central.schema.json": schema(CentralConfig),
    }


def stale(made: Mapping[str, str]) -> list[str]:
    """Return the pages whose file is missing or says something else."""
    return [
        name
        for name, text in made.items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(text) for text in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def code(text: str) -> str:
    """Return `text` as code, or nothing for nothing."""
    return f"`{text}`" if text else ""


# --------------------------------------------------------------------------------- configuration


def configuration() -> str:
    """Return the page of every entry of both configuration files and of the site policy."""
    return "\n".join(
        [
            "# Configuration",
            NOTE,
            (
                "Two files, one for each program. Both are YAML. An unknown key is an error that"
                " names the line and the nearest key. `required` means that there is no default."
                " Units are in the name where the column is empty.\n"
            ),
            (
                "Editors can check `edge.yaml` against [edge.schema.json](edge.schema.json) and"
                " `central.yaml` against [central.schema.json](central.schema.json).\n"
            ),
            "## edge.yaml",
            "Checked by `vedette edge check-config`. Paths are relative to the file.\n",
            _entries(EdgeConfig),
            "`cameras[].zones[]`:\n",
            _fields(Zone),
            "`cameras[].lines[]`:\n",
            _fields(Line),
            "## central.yaml",
            "Given with `vedette central --config central.yaml …`. Every entry has a default.\n",
            _entries(CentralConfig),
            "## site-policy.yaml",
            (
                "What `vedette site sign` takes. Signed by the site's key, enforced on the"
                " device; what each entry of `pixels` does is in [security](../security.md).\n"
            ),
            _entries(PolicyFile),
            "`pixels`:\n",
            _fields(PixelPolicy),
            "`cameras[]`:\n",
            _fields(CameraAddress),
            "## Environment",
            table(
                ["variable", "meaning"],
                [
                    ["`VEDETTE_EDGE_CONFIG`", "The device's configuration: `--config`"],
                    ["`VEDETTE_CLAIM_TOKEN`", "The claim token of `vedette edge enrol`: `--token`"],
                    ["`VEDETTE_MODELS`", "Where bundles are: `--models-dir`"],
                    ["`VEDETTE_DATABASE_URL`", "Your own PostgreSQL; overrides `database_url`"],
                ],
            ),
        ]
    )


def metrics() -> str:
    """Return the page of every metric that central can be asked for."""
    rows = [
        [
            code(metric.name),
            metric.unit,
            str(metric.kind),
            metric.about,
            ", ".join(word for word in (metric.name_is, metric.label_is) if word),
            ", ".join(metric.levels),
        ]
        for metric in METRICS
    ]
    kinds = [
        [
            str(kind),
            next(m.merges for m in METRICS if m.kind is kind),
            ", ".join(STATS.get(kind, ())),
        ]
        for kind in dict.fromkeys(metric.kind for metric in METRICS)
    ]
    return "\n".join(
        [
            "# Metrics",
            NOTE,
            (
                "What `/v1/query` and `vedette central query` can be asked for; how is told in"
                " [ask the fleet](../ask-the-fleet.md).\n"
            ),
            table(["metric", "unit", "kind", "what it is", "series by", "for"], rows),
            "## Kinds\n",
            table(["kind", "how times and cameras become one", "`stat`"], kinds),
        ]
    )


_ELSEWHERE = ("cameras[].zones[].", "cameras[].lines[].", "pixels.", "cameras[].camera")


def _entries(kind: type) -> str:
    rows = [
        [code(e.path), e.type, _default(e), e.unit, e.help]
        for e in config.reference(kind)
        if not e.path.startswith(_ELSEWHERE)
    ]
    return table(["entry", "type", "default", "unit", "meaning"], rows)


def _default(entry: config.Entry) -> str:
    """Return the default; that of a block stands in its own rows."""
    if entry.default == "required":
        return entry.default
    return "" if entry.type == "a block" else code(entry.default)


def _fields(kind: type[msgspec.Struct], prefix: str = "") -> str:
    return table(["entry", "type", "default"], list(_field_rows(kind, prefix)))


def _field_rows(kind: type[msgspec.Struct], prefix: str) -> Iterator[list[str]]:
    hints = get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        default = "required"
        if field.default is not msgspec.NODEFAULT:
            default = code(json.dumps(msgspec.to_builtins(field.default)))
        elif field.default_factory is not msgspec.NODEFAULT:
            default = code(json.dumps(field.default_factory()))
        hint = hints[field.name]
        is_block = isinstance(hint, type) and issubclass(hint, msgspec.Struct)
        yield [code(prefix + field.name), type_name(hint), "" if is_block else default]
        if is_block:
            yield from _field_rows(hint, f"{prefix}{field.name}.")


def type_name(hint: Any) -> str:
    """Return a type in words that need no import."""
    if isinstance(hint, type) and not getattr(hint, "__args__", ()):
        return hint.__name__
    return re.sub(r"\b(?:vedette|msgspec|typing)(?:\.\w+)*\.(\w+)", r"\1", str(hint))


def schema(kind: type) -> str:
    """Return the JSON Schema of a configuration, for editors."""
    return json.dumps(config.json_schema(kind), indent=1, sort_keys=True) + "\n"


# --------------------------------------------------------------------------------------- streams


def streams_page() -> str:
    """Return the page of every message that a device sends."""
    rows = [
        [
            code(s.schema),
            s.lane.value,
            s.tier.value,
            "when it happens" if s.period_s is None else f"{s.period_s:g} s",
            str(s.priority),
            f"{s.max_bytes:,}",
            f"{s.retention_days} days",
            "at once" if s.commit_at_once else "within 1 s",
            code(s.body.__name__),
        ]
        for s in streams.STREAMS
    ]
    constants = ("REPORT_PERIOD_S", "DARK_AFTER_S", "CAMERA_DOWN_AFTER_S", "BACKFILL_AFTER_S")
    text = [
        "# Streams",
        NOTE,
        (
            "Every message that a device sends, from the one table `wire/streams.py`. Priority 0 is"
            " sent first and evicted last. Retention is that of the raw message at central; merged"
            " numbers are kept longer (see [configuration](configuration.md), `retention`).\n"
        ),
        table(
            [
                "schema",
                "lane",
                "tier",
                "sent",
                "priority",
                "bytes at most",
                "kept",
                "on disk",
                "body",
            ],
            rows,
        ),
        table(["constant", "seconds"], [[code(n), f"{getattr(streams, n):g}"] for n in constants]),
        "## Limits",
        "From `wire/limits.py`; counted while receiving.\n",
        table(
            ["limit", "value"],
            [[code(n), f"{v:,.0f}"] for n, v in vars(limits).items() if n.startswith("MAX_")],
        ),
    ]
    for row in streams.STREAMS:
        text += [f"## {row.schema}", _first_line(row.body) + "\n", _fields(row.body)]
    return "\n".join(text)


def evidence_page() -> str:
    """Return the page of every document in an evidence package, from its JSON Schema."""
    text = [
        "# Evidence packages",
        NOTE,
        (
            "What stands in the documents of a package; what a package is for is told in"
            " [evidence](../evidence.md). `vedette evidence schema` prints the JSON Schema of each;"
            " that of `evidence.json` is [evidence.schema.json](evidence.schema.json). Fields may"
            " be added: readers pass over what they do not know.\n"
        ),
    ]
    told: set[str] = set()
    for name in DOCUMENTS:
        parts = package_schema(name)
        main = parts["$ref"].rpartition("/")[2]
        for part in [main, *(one for one in parts["$defs"] if one != main)]:
            held = parts["$defs"][part]
            if part not in told and "properties" in held:
                heading = f"## {name}" if part == main else f"### {part}"
                text += [f"{heading}\n", held.get("description", "") + "\n", _properties(held)]
            told.add(part)
    return "\n".join(text)


def _properties(held: Mapping[str, Any]) -> str:
    rows = [
        [
            code(name),
            _schema_type(one),
            "required" if name in held.get("required", ()) else "",
            one.get("description", ""),
        ]
        for name, one in held["properties"].items()
    ]
    return table(["field", "type", "", "meaning"], rows)


def _schema_type(one: Mapping[str, Any]) -> str:
    """Return the type of a part of a schema in words."""
    if "$ref" in one:
        return one["$ref"].rpartition("/")[2]
    if "anyOf" in one:
        return " or ".join(_schema_type(each) for each in one["anyOf"])
    if one.get("type") == "array":
        each = one.get("prefixItems")
        inner = ", ".join(map(_schema_type, each)) if each else _schema_type(one.get("items") or {})
        return f"[{inner}]" if each else f"list of {inner}"
    if one.get("type") == "object":
        return f"map to {_schema_type(one.get('additionalProperties') or {})}"
    return str(one.get("type", "anything"))


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n", maxsplit=1)[0]


# ---------------------------------------------------------------------------------- command line


def commands(
    group: click.Group = cli, path: tuple[str, ...] = ("vedette",)
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its full name, groups before what is in them."""
    context = click.Context(group, info_name=path[-1])
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def command_line() -> str:
    """Return the page of every command with its arguments and options."""
    text = [
        "# Command line",
        NOTE,
        (
            "`vedette COMMAND --help` says the same. Exit status: 0 done; 1 a check failed;"
            " 2 refused, with one line that says why and one that says what to do; 130 Ctrl-C.\n"
        ),
        "Before any command:\n",
        _options(cli),
    ]
    for name, command in commands():
        text += [f"## {name}", _help(command) + "\n"]
        if isinstance(command, click.Group):
            if command.params:
                text += ["Before the subcommand:\n", _options(command)]
            continue
        usage = [p.make_metavar(click.Context(command)) for p in _arguments(command)]
        usage += ["[OPTIONS]"] if len(usage) < len(command.params) else []
        text.append(f"    {' '.join((name, *usage))}\n")
        if any(isinstance(p, click.Option) for p in command.params):
            text.append(_options(command))
    return "\n".join(text)


def _arguments(command: click.Command) -> list[click.Argument]:
    return [p for p in command.params if isinstance(p, click.Argument)]


def _help(command: click.Command) -> str:
    text = inspect.cleandoc(command.help or command.short_help or "")
    first, _, rest = text.partition("\n\n")
    if "\b\nvedette" in rest:  # examples stay as they were typed
        rest = "\n".join("    " + line for line in rest.replace("\b\n", "").splitlines())
    return f"{first}\n\n{rest}".replace("\b\n", "").strip()


def _options(command: click.Command) -> str:
    rows: list[list[str]] = []
    context = click.Context(command)
    for option in command.params:
        if not isinstance(option, click.Option):
            continue
        names = ", ".join(option.opts)
        if option.secondary_opts:
            names += " / " + ", ".join(option.secondary_opts)
        kind = "" if option.is_flag else option.make_metavar(context)
        default = option.default
        shown = "" if default in {None, False, ()} or callable(default) else str(default)
        if "Sentinel" in shown:
            shown = ""
        rows.append([code(names), code(kind), "required" if option.required else code(shown)])
        rows[-1].append(option.help or "")
    return table(["option", "value", "default", "meaning"], rows)


# ------------------------------------------------------------------------------------------- api


def operations() -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return `(method, path, operation)` of the operator API, as its OpenAPI document has them."""
    app = Litestar(route_handlers=routes.operator_routes(), openapi_config=routes.openapi_config())
    document = app.openapi_schema.to_schema()
    return [
        (method.upper(), path, operation)
        for path, item in sorted(document["paths"].items())
        for method, operation in sorted(item.items())
    ]


def api() -> str:
    """Return the page of everything that answers over HTTP."""
    rows = [
        [
            code(f"{method} {path}"),
            operation.get("summary", ""),
            ", ".join(
                code(p["name"]) for p in operation.get("parameters", []) if p["in"] == "query"
            ),
        ]
        for method, path, operation in operations()
    ]
    device: list[list[str]] = [[code(f"{m} {p}"), s] for (m, p), s in SUMMARIES.items()]
    source = inspect.getsource(DeviceApi.routes)
    for method, path, name in re.findall(r'\("(\w+)", "([^"]+)"\): self\.(\w+)', source):
        shown = f"{method} {path}{'{request}' if path.endswith('/') else ''}"
        device.append([code(shown), _first_line(getattr(DeviceApi, name))])
    return "\n".join(
        [
            "# HTTP",
            NOTE,
            "## Operator API",
            (
                "For people's programs. Make an API token on the console's account page and send it"
                " as `Authorization: Bearer TOKEN`. Times are milliseconds since 1970 UTC. A number"
                " that speaks of time stands beside its coverage; without coverage it is `null`."
                " Failures are RFC 9457 problems. The full description is served as OpenAPI at"
                " `/schema/openapi.json`.\n"
            ),
            table(["operation", "what", "query"], rows),
            "## Device API",
            (
                "For devices. The messages are in `wire/enrol.py`, `wire/envelope.py` and"
                " `wire/signed.py`; see [the life of a report](../life-of-a-report.md).\n"
            ),
            table(["operation", "what"], device),
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
