"""The entry point: which subcommands exist, and how a failure reads.

Each subcommand lives in `cli/<name>.py` and exposes a click command named `command`; it is
imported only when it is asked for, so that `vedette central` never loads OpenCV and a small device
never loads a web framework. No work is done here. The rule: a person sees one readable block that
says what happened and what to do, never a traceback, for everything that Vedette raises on
purpose; exit status 2 for those, 130 for Ctrl-C.
"""

import importlib
import sys
from dataclasses import dataclass

import click

from vedette import __version__
from vedette.errors import ConfigError, VedetteError

EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Subcommand:
    """One row of the table: where it lives, what it says in `--help`, which extras it needs."""

    module: str
    summary: str
    extra: str


SUBCOMMANDS: dict[str, Subcommand] = {
    "edge": Subcommand("vedette.cli.edge", "Run and look after this device.", "edge"),
    "central": Subcommand("vedette.cli.central", "The service that knows the fleet.", "central"),
    "site": Subcommand("vedette.cli.site", "A site's key, and what it signs.", "edge"),
    "keys": Subcommand("vedette.cli.keys", "Keys that sign what devices may install.", "edge"),
    "model": Subcommand("vedette.cli.model", "Pull, import and inspect model bundles.", "edge,lab"),
    "bundle": Subcommand("vedette.cli.bundle", "Verify, try, compare and evaluate one.", "edge"),
    "evidence": Subcommand("vedette.cli.evidence", "Clips kept here: verify, hold, copy.", "edge"),
    "artefact": Subcommand("vedette.cli.artefact", "Make what is rolled out to devices.", "edge"),
    "labels": Subcommand("vedette.cli.labels", "Labels to print for a branch.", "edge"),
    "watch": Subcommand("vedette.cli.watch", "Look at one source and print what is seen.", "edge"),
    "demo": Subcommand("vedette.cli.demo", "A whole site on this machine.", "edge,central,lab"),
    "sim": Subcommand("vedette.cli.sim", "Cameras and faults without hardware.", "edge"),
}


def missing_extra(name: str, row: Subcommand, missing: str) -> ConfigError:
    """Return the error that names the extra to install for a module that is not there."""
    return ConfigError(
        f"`vedette {name}` needs the Python package {missing!r}, which is not installed.",
        operator_hint=f"Install it with: pip install 'vedette[{row.extra}]'",
    )


class LazyGroup(click.Group):
    """A click group whose subcommands are imported when they are first asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, then those defined here."""
        return [*SUBCOMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a subcommand.

        Raises:
            ConfigError: A package that it needs is not installed.
        """
        row = SUBCOMMANDS.get(cmd_name)
        if row is None:
            return super().get_command(ctx, cmd_name)
        try:
            module = importlib.import_module(row.module)
        except ModuleNotFoundError as error:
            missing = (error.name or "?").split(".")[0]
            if missing == "vedette":
                raise
            raise missing_extra(cmd_name, row, missing) from error
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table, so that `--help` imports nothing."""
        rows = [(name, row.summary) for name, row in SUBCOMMANDS.items()]
        for name in super().list_commands(ctx):
            local = super().get_command(ctx, name)
            rows.append((name, local.get_short_help_str() if local else ""))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vedette")
@click.option("-v", "--verbose", is_flag=True, help="Log details too.")
@click.option(
    "--log-json/--log-text",
    default=None,
    help="Log JSON lines or text. Default: text in a terminal, JSON lines elsewhere.",
)
def cli(*, verbose: bool, log_json: bool | None) -> None:
    """Run computer vision at many sites, and say honestly when it stops working."""
    from vedette import logs  # `--help` and `--version` need no logging

    logs.setup(json_lines=log_json, level="DEBUG" if verbose else "INFO")


@cli.command("version")
def version() -> None:
    """Print the version of Vedette."""
    click.echo(__version__)


def explain(error: VedetteError) -> str:
    """Return what a person reads: the kind, what happened, and what to do about it."""
    from vedette.logs import redact_text  # as above

    lines = [f"{type(error).__name__}: {redact_text(str(error))}"]
    if error.operator_hint:
        lines.append(f"  → {error.operator_hint}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit status."""
    try:
        status = cli.main(args=arguments, prog_name="vedette", standalone_mode=False)
    except VedetteError as error:
        click.echo(explain(error), err=True)
        sys.exit(EXIT_REFUSED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Stopped.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe left (`vedette model list | head`): nothing is wrong, and flushing
        # the rest at exit would only complain.
        sys.stderr.close()
        sys.exit(0)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
