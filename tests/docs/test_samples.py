"""What the documentation tells people to type or write works as it stands."""

import shlex

import click
import pytest

from vedette import config
from vedette.central.alerting import rules
from vedette.central.settings import CentralConfig
from vedette.cli.main import cli
from vedette.edge import settings
from vedette.edge.settings import EdgeConfig
from vedette.errors import ConfigError
from vedette.sim.fleet import scenario
from vedette.sim.fleet.scenario import Scenario
from vedette.trust.site_policy import PolicyFile


def _lines(text: str) -> list[list[str]]:
    """Return the commands of a shell block, each as words, up to a pipe or redirection."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        ends = [n for n, word in enumerate(words) if word in {"|", "&&", ";", ">", "&"}]
        words = words[: min(ends, default=len(words))]
        if words:
            found.append(words[1:] if words[0] == "sudo" else words)
    return found


def _vedette(text: str) -> list[list[str]]:
    """Return what stands behind `vedette` in the commands of a shell block."""
    return [words[1:] for words in _lines(text) if words[0].rpartition("/")[2] == "vedette"]


def _parse(words: list[str]) -> None:
    """Let click read a command line, without running anything."""
    command: click.Command = cli
    parent: click.Context | None = None
    while True:
        context = command.make_context(
            command.name or "vedette", list(words), parent, resilient_parsing=False
        )
        if not isinstance(command, click.Group):
            return
        words = [*context._protected_args, *context.args]
        if not words:
            return
        _, sub, words = command.resolve_command(context, words)
        assert sub is not None
        command, parent = sub, context


def _prepared(words: list[str], tmp_path) -> list[str]:
    """Return the words with files that must exist replaced by one that does."""
    there = tmp_path / "there.yaml"
    there.touch()
    ends = (".yaml", ".json", ".mp4", ".onnx", ".vbundle", ".txt", ".key", ".vbk")
    return [str(there) if w.endswith(ends) and not w.startswith("-") else w for w in words]


def test_every_command_line_in_the_documentation_parses(docs, tmp_path, monkeypatch):
    """Each `vedette …` in a shell block names a command and options that exist."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.yaml").write_text("{}")
    wrong, count = [], 0
    for block in docs.blocks("bash", "sh"):
        for words in _vedette(block.text):
            count += 1
            try:
                _parse(_prepared(words, tmp_path))
            except click.exceptions.Exit:
                pass
            except (click.ClickException, ConfigError) as error:
                wrong.append(f"{block}: vedette {' '.join(words)}: {error}")
    assert wrong == []
    assert count > 20


@pytest.mark.parametrize(
    "line", ["vedette edge fly", "vedette edge run --fast", "vedette central claim"]
)
def test_a_wrong_command_line_would_be_noticed(line):
    """The check above can fail."""
    with pytest.raises(click.ClickException):
        _parse(_vedette(line)[0])


def test_every_target_of_make_in_the_documentation_exists(docs):
    """No page names a target that the Makefile does not have."""
    makefile = (docs.root / "Makefile").read_text("utf-8")
    wrong = []
    for block in docs.blocks("bash", "sh"):
        wrong += [
            f"{block}: make {words[1]}"
            for words in _lines(block.text)
            if words[0] == "make" and f"\n{words[1]}:" not in makefile
        ]
    assert wrong == []


def test_every_edge_configuration_in_the_documentation_loads(docs, tmp_path):
    """Each YAML block with a `state_dir` and cameras is a configuration that a device takes."""
    found = [b for b in docs.blocks("yaml") if "state_dir:" in b.text and "models_dir:" in b.text]
    for block in found:
        path = tmp_path / "edge.yaml"
        path.write_text(block.text, encoding="utf-8")
        assert isinstance(settings.load(path), EdgeConfig), str(block)
    assert found


def test_every_other_yaml_in_the_documentation_is_of_a_known_kind(docs):
    """A block is a whole file (central's, a policy, a story) or a camera's part of `edge.yaml`."""
    for block in docs.blocks("yaml"):
        first = block.text.splitlines()[0]
        if "state_dir:" in block.text and "models_dir:" in block.text:
            continue
        if first == "# central.yaml":
            config.parse(block.text, CentralConfig, name=str(block))
        elif first == "# rules.yaml":
            rules.load(block.text.encode(), name=str(block))
        elif first == "# site-policy.yaml":
            config.parse(block.text, PolicyFile, name=str(block))
        elif first == "# story.yaml":
            story = config.parse(block.text, Scenario, name=str(block))
            scenario.spells(story)
            scenario.check(story)
        else:
            tree = "state_dir: s\nmodels_dir: m\n" + block.text
            settings.check(config.parse(tree, EdgeConfig, name=str(block)), str(block))
