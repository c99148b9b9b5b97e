"""What the pages of exports say of one: in words, and as what one types to have it so."""

import shlex

import pytest

from vedette.central.alerting.facts import Where
from vedette.central.console.alerts import exports
from vedette.central.exporting.facts import Export
from vedette.cli.central_exports import put_command
from vedette.wire.messages import EventKind

_HOSTILE = "a'; rm -rf / #\"$(id)"
MANY = Export(
    export="mes",
    channel="hook",
    tell=["clip", "event"],
    kinds=[EventKind.LINE_CROSSED, EventKind.LOITER],
    labels=[_HOSTILE, "--off"],
    where=Where(sites=["north"], folders=["a b"], groups=["g"], devices=["d"], cameras=["door*"]),
    late=False,
    fetch=True,
    link_h=0.5,
)


@pytest.mark.parametrize("enabled", [True, False], ids=["on", "off"])
@pytest.mark.parametrize("export", [Export(export="mes", channel="hook"), MANY], ids=["no", "all"])
def test_what_is_to_be_typed_means_the_export_that_is_shown(
    export: Export, *, enabled: bool
) -> None:
    """The terminal reads every setting back, whatever characters a name has."""
    typed = shlex.split(exports.command_of(export, enabled=enabled))
    assert typed[:4] == ["vedette", "central", "exports", "put"]
    given = put_command.make_context("put", typed[4:]).params
    names = ("sites", "folders", "groups", "devices", "cameras")
    where = Where(**{name: list(given[name]) for name in names})
    read = Export(
        export=given["export"],
        channel=given["channel"],
        tell=list(given["tell"]),
        kinds=[EventKind(kind) for kind in given["kinds"]],
        labels=list(given["labels"]),
        where=where,
        late=given["late"],
        fetch=given["fetch"],
        link_h=given["link_h"],
    )
    assert read == export
    assert given["off"] is not enabled


def test_an_export_is_said_in_words() -> None:
    """Of what, of which events, and what is left out."""
    assert exports.tells_text(Export(export="x", channel="y")) == "events, evidence and clips"
    said = exports.tells_text(MANY)
    assert said.startswith("events and clips of line crossed, loitering, of a'; rm")
    assert said.endswith("nothing that came late")
    assert exports.links_text(MANY) == "to each file of a clip, good for 0.5 h"
