"""What a device answered, in a form that a page can lay out. Pure.

The rule: an answer is text that a device wrote: it is cut into lines and fields here, and nothing
of it is ever markup. What cannot be read as its kind is shown as the text that it is.
"""

from typing import Any, Final

import msgspec

from vedette.wire.diagnostics import (
    CONFIG,
    DOCTOR,
    LOG,
    NETWORK,
    ConfigAnswer,
    DoctorAnswer,
    NetworkAnswer,
    Speed,
)

MAX_LINES: Final = 5_000
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_FIELDS: Final = 5

KINDS: Final = {
    LOG: "log",
    CONFIG: "configuration",
    NETWORK: "network test",
    DOCTOR: "doctor",
    "thumbnail": "picture",
}


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a log; `trace` are the lines below it."""

    process: str = ""
    at: str = ""
    level: str = ""
    text: str = ""
    trace: list[str] = []


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer by its kind; only one of the parts is there."""

    log: list[LogLine] | None = None
    levels: dict[str, int] = {}
    network: NetworkAnswer | None = None
    steps: list[tuple[str, str, str]] = []
    config: ConfigAnswer | None = None
    settings: list[tuple[str, str, str]] = []
    doctor: DoctorAnswer | None = None
    text: str = ""


def read(kind: str, body: bytes) -> Answer:
    """Return an answer laid out; as plain text where it is not what it should be."""
    text = body.decode("utf-8", "replace")
    try:
        if kind == LOG:
            lines = log_lines(text)
            levels = {name: sum(line.level == name for line in lines) for name in LEVELS}
            return Answer(log=lines, levels={k: n for k, n in levels.items() if n})
        if kind == NETWORK:
            network = msgspec.json.decode(body, type=NetworkAnswer)
            return Answer(network=network, steps=network_steps(network))
        if kind == CONFIG:
            config = msgspec.json.decode(body, type=ConfigAnswer)
            return Answer(config=config, settings=settings_of(config))
        if kind == DOCTOR:
            return Answer(doctor=msgspec.json.decode(body, type=DoctorAnswer))
    except msgspec.DecodeError:
        pass
    return Answer(text=text)


def log_lines(text: str) -> list[LogLine]:
    """Return the entries of a log as `edge.diagnostics` puts them together, oldest first."""
    found: list[LogLine] = []
    for line in text.splitlines()[-MAX_LINES:]:
        if line.startswith("    | ") and found:
            last = found[-1]
            found[-1] = msgspec.structs.replace(last, trace=[*last.trace, line[6:]])
            continue
        parts = [part.strip() for part in line.split("  ") if part.strip()]
        if len(parts) >= _FIELDS - 1 and parts[2] in LEVELS:
            found.append(
                LogLine(process=parts[0], at=parts[1], level=parts[2], text="  ".join(parts[3:]))
            )
        else:
            found.append(LogLine(text=line))
    return found


def network_steps(told: NetworkAnswer) -> list[tuple[str, str, str]]:
    """Return the way to central as (step, state, what it says), in the order that it is gone."""
    steps = [
        ("name", "down", told.dns_trouble)
        if told.dns_trouble
        else ("name", "ok", f"{told.host} in {told.dns_ms:.0f} ms")
        if told.dns_ms is not None
        else ("name", "unknown", "not asked")
    ]
    for one in told.addresses:
        said = [f"connected in {one.connect_ms:.0f} ms"] if one.connect_ms is not None else []
        if one.tls_ms is not None:
            until = f", certificate until {one.certificate_until}" if one.certificate_until else ""
            said.append(f"{one.tls_version or 'TLS'} in {one.tls_ms:.0f} ms{until}")
        if one.kernel_rtt_ms is not None:
            said.append(f"round trip {one.kernel_rtt_ms:.0f} ms")
        if one.mtu_bytes:
            said.append(f"packets of {one.mtu_bytes} bytes")
        if one.retransmits:
            said.append(f"{one.retransmits} sent again")
        state = "down" if one.trouble else "degraded" if one.retransmits else "ok"
        steps.append(
            (one.address, state, "; ".join([*([one.trouble] if one.trouble else []), *said]))
        )
    trips = sorted(told.round_trips_ms)
    if told.http_trouble:
        steps.append(("requests", "down", told.http_trouble))
    elif trips:
        middle = trips[len(trips) // 2]
        said_ = f"{trips[0]:.0f} / {middle:.0f} / {trips[-1]:.0f} ms least, middle, most"
        steps.append(("requests", "ok", said_))
    steps.append(("speed up", *_speed(told.up)))
    steps.append(("speed down", *_speed(told.down)))
    if told.cap_kbit_s:
        steps.append(("allowed now", "", f"{told.cap_kbit_s:.0f} kbit/s by its own windows"))
    return steps


def _speed(one: Speed) -> tuple[str, str]:
    if one.mbit_s is None:
        return ("down" if one.trouble else "unknown"), one.trouble or "not measured"
    return "ok", f"{one.mbit_s:.2f} Mbit/s ({one.sent_bytes / 1000:.0f} kB)"


def settings_of(told: ConfigAnswer) -> list[tuple[str, str, str]]:
    """Return every setting as (path, value, who decided), the nearest origin above it."""
    origins = {one.part: one.signer for one in told.origins}

    def walk(path: str, value: Any) -> list[tuple[str, str, str]]:
        if isinstance(value, dict) and value:
            return [
                row
                for key, part in value.items()
                for row in walk(f"{path}.{key}" if path else str(key), part)
            ]
        if isinstance(value, list) and any(isinstance(one, dict) for one in value):
            return [
                row
                for at, part in enumerate(value)
                for row in walk(f"{path}[{_name(part, at)}]", part)
            ]
        said = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return [(path, said[:400], _origin(path, origins))]

    return walk("", told.config)[:MAX_LINES]


def _name(part: Any, at: int) -> str:
    return str(part.get("name", at)) if isinstance(part, dict) else str(at)


def _origin(path: str, origins: dict[str, str]) -> str:
    """Return who decided a part: the longest origin that it lies in; its own file where none."""
    within = [part for part in origins if path == part or path.startswith((f"{part}.", f"{part}["))]
    return origins[max(within, key=len)] if within else "its own file"
