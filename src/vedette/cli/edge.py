"""`vedette edge`: run this device, enrol it, ask how it is, check its configuration.

Thin: parses, calls `vedette.edge`, prints. `--json` prints one JSON document and nothing else on
standard output.
"""

import importlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from vedette import __version__, logs
from vedette.cli.machine_facts import machine_facts
from vedette.cli.printable import escape
from vedette.clock import SystemClock, from_wall_ms
from vedette.edge import address, settings
from vedette.edge.agent import Agent
from vedette.edge.central_client import CentralClient, check_link
from vedette.edge.diagnostics.tail import tail_file
from vedette.edge.enrolment import Identity, enrol, keyring, load_identity
from vedette.edge.health import SystemProbe
from vedette.edge.health.system import boot_id
from vedette.edge.settings import CentralLink, EdgeConfig
from vedette.edge.spool import peek
from vedette.edge.status import read_status
from vedette.edge.supervisor import AgentLock
from vedette.errors import ConfigError
from vedette.wire.messages import HealthReport, SpoolHealth

_config = click.option(
    "--config",
    "path",
    default="edge.yaml",
    show_default=True,
    envvar="VEDETTE_EDGE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The device's configuration. Environment: VEDETTE_EDGE_CONFIG.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_ON_DISK = (address.Kind.PATH, address.Kind.WATCHED)

NOT_RUNNING = 1
"""Exit status of `status` where no agent runs."""


_LATER = {
    "doctor": "vedette.cli.edge_doctor",
    "commission": "vedette.cli.edge_commission",
    "install": "vedette.cli.edge_install",
    "trust-site-key": "vedette.cli.edge_trust",
    "sealing-key": "vedette.cli.edge_trust",
    "trust-root": "vedette.cli.edge_root",
    "uninstall": "vedette.cli.edge_install",
    "updates": "vedette.cli.edge_updates",
    "alerts": "vedette.cli.edge_alerts",
    "system-door": "vedette.cli.edge_system_door",
}


class _LazyGroup(click.Group):
    """Imports what needs pictures and models only when it is asked for: the agent never does."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order of the alphabet."""
        return sorted([*_LATER, *super().list_commands(ctx)])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand; the module of one that comes later has it by its own name."""
        module = _LATER.get(cmd_name)
        if module is None:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(importlib.import_module(module), cmd_name.replace("-", "_"))
        return found


@click.group(cls=_LazyGroup)
def command() -> None:
    """Run and look after this device."""


@command.command("run")
@_config
def run(path: Path) -> None:
    """Run the agent and its pipeline until stopped.

    \b
    Ctrl-C or SIGTERM ends both cleanly: what was counted is kept and, where
    central answers, sent. Without `central` in the configuration the device
    works alone and keeps what it counted in its spool.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    if config.central is not None:
        check_link(config.central)
    logs.keep_tail(tail_file(config.state_dir, "agent"))
    agent = Agent(
        config,
        SystemClock(),
        boot_id=boot_id(),
        pipeline=_pipeline,
        probe=_probe(config.state_dir),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    agent.run()


@command.command("enrol")
@_config
@click.option(
    "--token",
    envvar="VEDETTE_CLAIM_TOKEN",
    prompt="Claim token",
    hide_input=True,
    help="The claim token that central gave for this site. Environment: VEDETTE_CLAIM_TOKEN.",
)
@click.option("--central", "url", help="Address of central, if the configuration has none.")
@click.option(
    "--replace", is_flag=True, help="Enrolled before: take a fresh key and what the token gives."
)
@_as_json
def enrol_command(path: Path, token: str, url: str | None, *, replace: bool, as_json: bool) -> None:
    """Make this device known to central, once.

    \b
    The device makes its own key; the private half never leaves it. The claim
    token works once. A running agent notices by itself.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    link = CentralLink(url=url) if url else config.central
    if link is None:
        raise ConfigError(
            f"{path} has no central",
            operator_hint="add `central: {url: https://…}` to it, or give --central",
        )
    client = CentralClient(link, SystemClock())
    hardware = config.build_hint or _probe(config.state_dir).collect().hardware
    identity = enrol(
        config.state_dir,
        client,
        token.strip(),
        version=__version__,
        hardware=hardware,
        replace=replace,
    )
    client.close()
    if as_json:
        _print_json(_public(identity))
        return
    click.echo(f"enrolled as {identity.device} at {identity.site}")
    click.echo(f"central's key  {identity.central.keyid}")
    for key in identity.site_signers:
        click.echo(f"site key       {key.keyid}")
    if replace and AgentLock.is_held(config.state_dir):
        click.echo("restart the agent: it still speaks as it did before")
    if not identity.site_keys:
        click.echo(
            "no site key yet: no policy is accepted until a person here names one:"
            " vedette edge trust-site-key"
        )


@command.command("rotate-key")
@_config
def rotate_key(path: Path) -> None:
    """Change the key with which this device proves who it is.

    \b
    Safe to repeat wherever it ended, and beside a running agent. The key before
    stays on the disk, for a central that is put back to a backup.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    identity = load_identity(config.state_dir)
    if identity is None or config.central is None:
        raise ConfigError("this device is not enrolled", operator_hint="run: vedette edge enrol")
    client = CentralClient(
        config.central, SystemClock(), identity=identity, keyring=keyring(config.state_dir)
    )
    keyid = client.rotate_key()
    client.close()
    click.echo(f"{identity.device} speaks with key {keyid}")


@command.command("status", short_help="Say how this device is: agent, cameras, spool.")
@_config
@_as_json
def status(path: Path, *, as_json: bool) -> None:
    """Say how this device is: agent, pipeline, cameras, spool, central.

    \b
    Reads the state directory only; exit status 1 where no agent runs.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    running = AgentLock.is_held(config.state_dir)
    report = read_status(config.state_dir)
    spool = peek(config.state_dir / "spool", round(config.spool.quota_mb * 1024 * 1024))
    identity = load_identity(config.state_dir)
    if as_json:
        _print_json(
            {
                "running": running,
                "identity": _public(identity) if identity else None,
                "spool": msgspec.to_builtins(spool),
                "report": msgspec.to_builtins(report),
            }
        )
    else:
        _print_status(config, identity, report, spool, running=running)
    if not running:
        sys.exit(NOT_RUNNING)


@command.command("check-config")
@_config
@_as_json
def check_config(path: Path, *, as_json: bool) -> None:
    """Check the configuration without starting anything.

    \b
    Exit status 2, with file, line and what to write instead, where it is wrong.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    if config.central is not None:
        check_link(config.central)
    _check_labels(config)
    warnings = _warnings(config)
    if as_json:
        cameras = [{"id": c.id, "source": logs.redact_url(c.source)} for c in config.cameras]
        _print_json({"ok": True, "cameras": cameras, "warnings": warnings})
        return
    console = Console()
    table = Table("camera", "source", "model", "zones", "lines", box=None, pad_edge=False)
    for camera in config.cameras:
        table.add_row(
            camera.id,
            logs.redact_url(camera.source) or "from the site policy",
            camera.model,
            str(len(camera.zones)),
            str(len(camera.lines)),
        )
    console.print(table)
    for warning in warnings:
        console.print(f"[yellow]warning[/] {warning}")
    console.print(f"{path} is fine")


@command.command("serve", short_help="Answer programs here: /v1/assess and /v1/infer.")
@_config
@click.option("--host", help="Address to listen on, instead of the configuration's.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port, instead of the configuration's.")
def serve(path: Path, host: str | None, port: int | None) -> None:
    """Serve still pictures to programs beside this device: /v1/assess and /v1/infer.

    \b
    Callers show the token that stands in the state directory (or in the file
    that local_api.token_file names):
      curl -H "Authorization: Bearer $(cat state/local-api.token)" \\
        --data-binary @part.jpg http://127.0.0.1:8088/v1/infer
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    try:
        from vedette.edge.local.serve import serve as run_server
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"`vedette edge serve` needs the Python package {error.name!r}",
            operator_hint="Install it with: pip install 'vedette[local]'",
        ) from error
    config = settings.load(path)
    changes: dict[str, Any] = {
        name: value for name, value in (("host", host), ("port", port)) if value is not None
    }
    local = msgspec.structs.replace(config.local_api, **changes)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run_server(msgspec.structs.replace(config, local_api=local), SystemClock(), stop)


# ------------------------------------------------------------------------------------- internals


def _pipeline(effective: Path) -> list[str]:
    return [sys.executable, "-m", "vedette.edge.pipeline_main", "--config", str(effective)]


def _probe(state_dir: Path) -> SystemProbe:
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return SystemProbe(state_dir)


def _public(identity: Identity) -> dict[str, Any]:
    return {
        "device": identity.device,
        "site": identity.site,
        "central_key": identity.central.keyid,
        "site_keys": [key.keyid for key in identity.site_signers],
    }


def _check_labels(config: EdgeConfig) -> None:
    """Raise `ConfigError` where a camera looks for what its model does not know."""
    from vedette.inference.library import Library

    library = Library(config.models_dir)
    for camera in config.cameras:
        if camera.labels and camera.model in library.names():
            manifest = library.find(camera.model).manifest
            settings.check_labels(camera, manifest.name, manifest.labels)


def _warnings(config: EdgeConfig) -> list[str]:
    """Return what is allowed but probably not meant."""
    from vedette.cli.model import DEFAULT_MODEL
    from vedette.inference.backends import missing_parts

    found = []
    if not config.cameras:
        found.append("there are no cameras; they can also come with the signed site policy")
    if config.central is None:
        found.append("there is no central: this device works alone")
    elif config.central.url.startswith("http://"):
        found.append("central is spoken to without TLS")
    found += missing_parts(config.pipeline.runtime, config.pipeline.providers)
    for camera in config.cameras:
        found += _missing_files(camera)
        found += _without_clips(camera)
        model = config.models_dir / camera.model
        if not model.exists() and not model.with_suffix(".vbundle").exists():
            # Only the default can be fetched; any other one is a file that somebody has.
            get = "pull" if camera.model == DEFAULT_MODEL else "import FILE --name"
            found.append(
                f"camera {camera.id}: no model {camera.model!r} in {config.models_dir};"
                f" try: vedette model {get} {camera.model} --models-dir {config.models_dir}"
            )
    if not os.access(config.state_dir.parent, os.W_OK):
        found.append(f"{config.state_dir.parent} is not writable for this user")
    return found


def _without_clips(camera: settings.Camera) -> list[str]:
    """Return that clips are asked for which this source cannot give."""
    asks = [shape.name for shape in (*camera.zones, *camera.lines) if shape.evidence]
    asks += ["presence_evidence"] * camera.presence_evidence
    asks += ["scene_evidence"] * camera.scene_evidence
    if not asks or camera.evidence_source or not address.is_raw(camera.source):
        return []
    what = (
        f"camera {camera.id}: {', '.join(asks)}: evidence is asked for, but this source gives raw"
    )
    return [f"{what} pictures: set evidence_source, or ask a device for format=mjpeg"]


def _missing_files(camera: settings.Camera) -> list[str]:
    """Return which files or folders a camera names that are not there."""
    return [
        f"camera {camera.id}: there is no file {logs.redact_url(source)}"
        for source in (camera.source, camera.evidence_source)
        if source and address.kind_of(source) in _ON_DISK and not address.path_of(source).exists()
    ]


def _print_json(document: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _print_status(
    config: EdgeConfig,
    identity: Identity | None,
    report: HealthReport | None,
    spool: SpoolHealth | None,
    *,
    running: bool,
) -> None:
    console = Console()
    facts = Table.grid(padding=(0, 2))
    who = f"{identity.device} at {identity.site}" if identity else "not enrolled"
    facts.add_row("device", who)
    facts.add_row("agent", "[green]running[/]" if running else "[red]not running[/]")
    facts.add_row(
        "central", logs.redact_url(config.central.url) if config.central else "none: works alone"
    )
    if report is not None:
        facts.add_row("last report", _ago(report.at_ms))
        facts.add_row("last contact", _ago(report.network.last_contact_ms))
        for name, words in machine_facts(report.system):
            facts.add_row(name, words)
        pipeline = report.pipeline
        if pipeline is not None:
            state = "[green]running[/]" if pipeline.running and running else "[red]not running[/]"
            died = f", {pipeline.crashes} crashes" if pipeline.crashes else ""
            ended = f"; last end: {escape(pipeline.last_exit)}" if pipeline.last_exit else ""
            facts.add_row("pipeline", f"{state}, {pipeline.restarts} restarts{died}{ended}")
    if spool is not None:
        depth = ", ".join(f"{lane} {count}" for lane, count in spool.depth.items())
        used = f"{spool.bytes / 2**20:.1f} of {spool.quota_bytes / 2**20:.0f} MB"
        facts.add_row("spool", f"{depth}; {used}; {spool.evicted} evicted; epoch {spool.epoch}")
    if report is not None and report.spool.written_bytes is not None and report.period_s > 0:
        written = report.spool.written_bytes
        daily_mb = written / report.period_s * 86_400 / 1e6
        facts.add_row("written", f"{written / 1e3:.0f} kB a report: {daily_mb:.0f} MB a day")
    for one in report.local_channels if report else []:
        lost = sum(one.dropped.values())
        why = f"; {escape(one.problem)}" if one.problem else ""
        said = f"{one.sent} delivered, {one.waiting} waiting, {lost} dropped{why}"
        facts.add_row(f"alerts: {escape(one.channel)}", said)
    console.print(facts)
    if report is not None and report.pipeline is not None and report.pipeline.cameras:
        table = Table("camera", "state", "rate", "last picture", "source", box=None, pad_edge=False)
        for camera in report.pipeline.cameras:
            rate = f"{camera.rate_fps:.1f}/s" if camera.rate_fps is not None else "–"
            table.add_row(
                camera.camera, camera.state.value, rate, _ago(camera.last_frame_ms), camera.source
            )
        console.print(table)
        for camera in report.pipeline.cameras:
            why = ", ".join([*camera.signs, *([camera.detail] if camera.detail else [])])
            if why:
                words = f"[yellow]{camera.camera}[/] {camera.state.value}: {escape(why)}"
                console.print(words, highlight=False)
            for text in camera.advice:
                console.print(f"[yellow]{camera.camera}[/] {text}", highlight=False)
    for problem in report.problems if report else []:
        console.print(f"[yellow]problem[/] {problem}", highlight=False)


def _ago(at_ms: int | None) -> str:
    if at_ms is None:
        return "never"
    seconds = (SystemClock().now_at() - from_wall_ms(at_ms)).total_seconds()
    return f"{max(seconds, 0):.0f} s ago" if seconds < 7200 else f"{seconds / 3600:.1f} h ago"
