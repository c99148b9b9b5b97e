"""A person at a device names other site keys, typed as they would."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from vedette.cli.main import cli
from vedette.edge.enrolment import Identity, load_identity, save_identity, sealing_key
from vedette.errors import ConfigError
from vedette.ids import DeviceId, SiteId
from vedette.trust.keys import PublicKey, SigningKey

CENTRAL, OLD, NEW = (SigningKey.generate().public for _ in range(3))
IDENTITY = Identity(
    device=DeviceId("box"),
    site=SiteId("shop"),
    central_key=CENTRAL.text,
    site_keys=[OLD.text],
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of a device that is not enrolled yet."""
    (tmp_path / "identity").mkdir()
    path = tmp_path / "edge.yaml"
    path.write_text(f"state_dir: {tmp_path}\nmodels_dir: {tmp_path}\n")
    return path


def _type(config: Path, answer: str = "") -> tuple[int, str]:
    words = ["edge", "trust-site-key", "--config", str(config), "--key", NEW.text]
    result = CliRunner().invoke(cli, words, input=answer, catch_exceptions=False)
    return result.exit_code, result.stdout


@pytest.mark.parametrize(
    ("answer", "status", "pins"), [("n\n", 1, OLD), ("", 1, OLD), ("y\n", 0, NEW)]
)
def test_both_key_ids_are_shown_and_nothing_is_done_without_a_yes(
    config: Path, answer: str, status: int, pins: PublicKey
) -> None:
    """A person compares what was believed with what will be; silence is no consent."""
    save_identity(config.parent, IDENTITY)
    code, said = _type(config, answer)
    assert code == status
    assert said.index(OLD.keyid) < said.index(NEW.keyid)
    identity = load_identity(config.parent)
    assert identity is not None
    assert identity.site_signers == [pins]
    assert (identity.by_hand_ms > 0) is (pins == NEW)


def test_a_device_that_is_not_enrolled_is_told_so(config: Path) -> None:
    """There is nothing whose keys could be replaced."""
    with pytest.raises(ConfigError, match="not enrolled"):
        _type(config)


def test_the_sealing_key_is_printed_as_a_policy_takes_it(config: Path) -> None:
    """One line of YAML, the same each time, for a device that is enrolled."""
    words = ["edge", "sealing-key", "--config", str(config)]
    with pytest.raises(ConfigError, match="not enrolled"):
        CliRunner().invoke(cli, words, catch_exceptions=False)
    save_identity(config.parent, IDENTITY)
    lines = {CliRunner().invoke(cli, words, catch_exceptions=False).stdout for _ in range(2)}
    (line,) = lines
    assert yaml.safe_load(line) == {"box": sealing_key(config.parent).text}
