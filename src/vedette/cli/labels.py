"""`vedette labels`: a sheet to print, so that nobody unplugs what nobody knows.

Thin: reads names from the device's configuration or the command line, calls `edge.labels`, writes
one file.
"""

from pathlib import Path

import click

from vedette.amounts import counted
from vedette.edge import settings
from vedette.edge.enrolment import load_identity
from vedette.edge.labels import sheet
from vedette.edge.labels.words import LANGUAGES
from vedette.errors import ConfigError


@click.command(short_help="Make a sheet of labels to print.")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take the names from this device's edge.yaml (and its enrolment).",
)
@click.option("--site", help="The site, where no configuration says it.")
@click.option("--device", help="The device, where no configuration says it.")
@click.option("--name", default="", help="What people call the box, as 'Box in the closet'.")
@click.option(
    "--camera",
    "cameras",
    multiple=True,
    metavar="ID[=NAME]",
    help="A camera and what people call it; repeatable. Default: those of the configuration.",
)
@click.option("--central", help="Central's address for the QR codes.")
@click.option("--contact", default="", help="Whom to call: a number that somebody answers.")
@click.option(
    "--language",
    type=click.Choice(sorted(LANGUAGES)),
    default="en",
    show_default=True,
    help="Language of the words.",
)
@click.option(
    "--output",
    "-o",
    default="labels.html",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to open in a browser and print on A4.",
)
def command(
    *,
    path: Path | None,
    site: str | None,
    device: str | None,
    name: str,
    cameras: tuple[str, ...],
    central: str | None,
    contact: str,
    language: str,
    output: Path,
) -> None:
    """Make a sheet of labels to print: for the box, each camera, each plug.

    \b
    At the device, with what it knows of itself:
      vedette labels --config edge.yaml --contact "+351 21 000 0000" --language pt
    Anywhere else:
      vedette labels --site lisbon-3 --device closet-1 --camera door="Front door" \\
        --central https://vedette.example.com --contact "+351 21 000 0000"
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    named = [_camera(text) for text in cameras]
    if path is not None:
        config = settings.load(path)
        identity = load_identity(config.state_dir)
        if identity is not None:
            site, device = site or str(identity.site), device or str(identity.device)
        if central is None and config.central is not None:
            central = config.central.url
        named = named or [(camera.id, camera.name) for camera in config.cameras]
        name = name or config.build_hint
    if not site or not device:
        raise ConfigError(
            "whose labels? The device is not enrolled yet" if path else "whose labels?",
            operator_hint="give --site and --device",
        )
    labels = sheet.for_device(site, device, named, name=name)
    document = sheet.sheet(labels, language=language, central=central or "", contact=contact)
    try:
        output.write_text(document, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}") from error
    click.echo(
        f"{counted(len(labels), 'label')} in {output}: open it in a browser and print it on A4"
    )
    if not contact:
        click.echo("no --contact: nobody will know whom to call", err=True)


def _camera(text: str) -> tuple[str, str]:
    camera, _, name = text.partition("=")
    return camera.strip(), name.strip()
