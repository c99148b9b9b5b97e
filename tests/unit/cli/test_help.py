"""What `--help` says, over every command there is: whole sentences on a narrow terminal."""

from collections.abc import Iterator

import click
import pytest

from vedette.cli.main import cli

WIDTH = 80


def commands(group: click.Group, context: click.Context) -> Iterator[tuple[list[str], click.Group]]:
    """Give every group below one, itself too, with the words that lead to it."""
    yield [], group
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None, name
        if isinstance(found, click.Group):
            below = click.Context(found, parent=context, info_name=name)
            for words, one in commands(found, below):
                yield [name, *words], one


GROUPS = {" ".join(words): one for words, one in commands(cli, click.Context(cli))}


@pytest.mark.parametrize("words", GROUPS)
def test_lists_of_commands_end_no_sentence_in_dots(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of each list is told in one whole line of eighty characters."""
    monkeypatch.setenv("COLUMNS", str(WIDTH))  # click's own runner would force another width
    group = GROUPS[words]
    context = click.Context(group, info_name=f"vedette {words}")
    listed = group.get_help(context).partition("Commands:\n")[2].splitlines()
    names = group.list_commands(context)
    starts = [line.split()[0] for line in listed if line.strip()]
    assert starts == names, "one line for each command"
    for line in listed:
        assert len(line) <= WIDTH
        assert not line.rstrip().endswith(("...", "…")), line
        assert len(line.split()) > 1, line
