"""`vedette sim`: cameras without hardware.

Thin: reads what was asked, calls `vedette.sim`, prints.
"""

import threading
from pathlib import Path

import click

from vedette.clock import SystemClock
from vedette.sim import footage
from vedette.sim.clip import load_clip
from vedette.sim.mount import Fault
from vedette.sim.rtsp import RtspServer


class _WithFleet(click.Group):
    """Adds what needs the same as central does, only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return sorted([*super().list_commands(ctx), "campaign", "fleet", "rollout"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand."""
        if cmd_name == "fleet":
            from vedette.cli import sim_fleet

            return sim_fleet.command
        if cmd_name == "campaign":
            from vedette.cli import sim_campaign

            return sim_campaign.command
        if cmd_name == "rollout":
            from vedette.cli import sim_rollout

            return sim_rollout.command
        return super().get_command(ctx, cmd_name)


@click.group("sim", cls=_WithFleet)
def command() -> None:
    """Cameras and faults without hardware."""


@command.command("footage", short_help="Prepare the footage of simulated cameras.")
@click.option("--no-download", is_flag=True, help="Render a street instead of fetching footage.")
def footage_command(*, no_download: bool) -> None:
    """Prepare the footage that simulated cameras show, and say where it lies."""
    made = footage.prepare(say=click.echo, download=not no_download)
    click.echo(f"footage: {made.origin}")
    for name, path in made.clips.items():
        width, height = footage.picture_size(path)
        click.echo(f"  {name:6} {width}×{height}  {path}")


@command.command("cameras", short_help="Play H.264 CLIPS as RTSP cameras until Ctrl-C.")
@click.argument("clips", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--port", default=8554, show_default=True, help="Port to listen on (loopback).")
@click.option("--user", default="", help="Ask for credentials: USER:PASSWORD.")
@click.option(
    "--fault",
    type=click.Choice([fault.value for fault in Fault]),
    default=Fault.NONE.value,
    show_default=True,
    help="Misbehave from the start.",
)
def cameras(clips: tuple[Path, ...], port: int, user: str, fault: str) -> None:
    """Play H.264 CLIPS as RTSP cameras until Ctrl-C; without any, the prepared footage."""
    paths = {path.stem: path for path in clips} or footage.prepare(say=click.echo).clips
    name, _, password = user.partition(":")
    users = {name: password} if name else {}
    with RtspServer(SystemClock(), port=port, users=users) as server:
        for camera, path in paths.items():
            server.add(camera, {"normal": load_clip(path)}).set_fault(Fault(fault))
            click.echo(f"{server.url(camera)}")
        threading.Event().wait()
