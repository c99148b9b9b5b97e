"""Installing for good: what is right stays, what cannot work is refused."""

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from vedette.cli.edge_install import install, uninstall
from vedette.edge.install import carry, plan, unit
from vedette.edge.install.plan import Facts, MakeFolder, MakeUser, Systemctl, Wish, WriteFile
from vedette.edge.settings import EdgeConfig
from vedette.errors import ConfigError

STATE, MODELS = Path("/var/lib/vedette"), Path("/var/lib/vedette-models")
CONFIG = EdgeConfig(state_dir=STATE, models_dir=MODELS)
TEXT = f"state_dir: {STATE}\nmodels_dir: {MODELS}\n"
WISH = Wish(
    config=CONFIG,
    config_text=TEXT,
    config_at=Path("/media/stick/edge.yaml"),
    program=Path("/opt/vedette/bin/vedette"),
)


def after(facts: Facts, steps: list[plan.Step]) -> Facts:
    """Return the machine as it is once these steps are done."""
    files, folders = dict(facts.files), dict(facts.folders)
    has_user, enabled, active = facts.has_user, facts.enabled, facts.active
    for step in steps:
        if isinstance(step, MakeUser):
            has_user = True
        elif isinstance(step, MakeFolder):
            folders[step.path] = (step.owner, step.mode)
        elif isinstance(step, WriteFile):
            files[step.path] = step.text
        else:
            enabled = enabled or "enable" in step.arguments
            active = active or "start" in step.arguments
    return msgspec.structs.replace(
        facts, files=files, folders=folders, has_user=has_user, enabled=enabled, active=active
    )


_facts = st.builds(
    Facts,
    files=st.dictionaries(
        st.sampled_from([plan.CONFIG, plan.UNIT, plan.WATCHDOG]),
        st.one_of(st.none(), st.sampled_from([TEXT, "old"])),
    ),
    folders=st.dictionaries(
        st.sampled_from([STATE, MODELS]),
        st.sampled_from([("vedette", 0o700), ("root", 0o755)]),
    ),
    has_user=st.booleans(),
    groups=st.sampled_from([(), ("video",), ("render", "video")]),
    running=st.booleans(),
    enabled=st.booleans(),
    active=st.booleans(),
)


@given(facts=_facts, start=st.booleans(), watchdog=st.booleans())
def test_a_second_run_changes_nothing(*, facts: Facts, start: bool, watchdog: bool) -> None:
    """From whatever state a machine is in, one run makes it right."""
    wish = msgspec.structs.replace(WISH, start=start, hardware_watchdog=watchdog)
    done = after(facts, plan.decide(wish, facts))
    assert plan.decide(wish, done) == []
    assert done.files[plan.CONFIG] == TEXT


def test_a_device_that_runs_is_restarted_only_where_something_changed() -> None:
    """A restart is a gap of seconds in what the cameras saw."""
    done = after(Facts(), plan.decide(WISH, Facts()))
    assert plan.decide(WISH, done) == []
    newer = msgspec.structs.replace(WISH, config_text=TEXT + "# changed\n")
    steps = plan.decide(newer, done)
    assert [type(step) for step in steps] == [WriteFile, Systemctl]
    assert steps[-1] == Systemctl(("restart", plan.SERVICE))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"program": Path("/home", "venv", "bin", "vedette")}, "cannot see"),
        (
            {"config": EdgeConfig(state_dir=Path("/", "root", "state"), models_dir=MODELS)},
            "cannot see",
        ),
        (
            {"config": EdgeConfig(state_dir=Path("/", "tmp", "s", "t"), models_dir=MODELS)},
            "cannot see",
        ),
        ({"config": EdgeConfig(state_dir=Path("/var/lib"), models_dir=MODELS)}, "alone"),
        ({"config": EdgeConfig(state_dir=Path("/var"), models_dir=MODELS)}, "alone"),
        ({"program": Path("/opt/x\nExecStartPre=/bin/evil")}, "line break"),
        (
            {
                "config": EdgeConfig(state_dir=Path("/media/stick/state"), models_dir=MODELS),
                "config_text": f"state_dir: state\nmodels_dir: {MODELS}\n",
            },
            "relative",
        ),
    ],
)
def test_what_the_service_could_not_run_is_refused(change: dict[str, object], words: str) -> None:
    """Before anything is written, with what to do instead."""
    with pytest.raises(ConfigError, match=words) as refused:
        plan.decide(msgspec.structs.replace(WISH, **change), Facts())
    assert refused.value.operator_hint or words == "line break"


def test_the_unit_says_watchdog_restart_and_only_its_own_folders() -> None:
    """The lines on which the promises of the installation stand."""
    text = unit.service(
        program=Path("/opt/vedette/bin/vedette"),
        config=plan.CONFIG,
        user="vedette",
        writes=[STATE],
        groups=["video"],
    ).splitlines()
    for line in (
        "Type=notify",
        "WatchdogSec=60",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "ProtectSystem=strict",
        f"ReadWritePaths={STATE}",
        "RuntimeDirectory=vedette",
        "SupplementaryGroups=video",
        "ExecStart=/opt/vedette/bin/vedette edge run --config /etc/vedette/edge.yaml",
    ):
        assert line in text


def test_the_example_is_what_the_command_writes() -> None:
    """Whoever copies the file by hand gets the same service."""
    example = Path(__file__).parents[3] / "examples" / plan.SERVICE
    assert example.read_text() == unit.service(
        program=Path("/opt/vedette/bin/vedette"),
        config=plan.CONFIG,
        user="vedette",
        writes=[STATE],
    )


def test_systemd_itself_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    """Its own checker reads the unit, with odd characters in a path."""
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("no systemd-analyze here")
    program = tmp_path / "vedette of 100%"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = tmp_path / plan.SERVICE
    file.write_text(
        unit.service(program=program, config=plan.CONFIG, user="root", writes=[tmp_path])
    )
    done = subprocess.run(
        [checker, "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The root of an image that is being made; its account exists."""
    (tmp_path / "image" / "etc").mkdir(parents=True)
    (tmp_path / "image" / "etc" / "passwd").write_text("vedette:x:999:999::/:/bin/false\n")
    (tmp_path / "edge.yaml").write_text(TEXT)
    return tmp_path / "image"


def run_install(image: Path, *more: str) -> str:
    """Return what `vedette edge install` prints."""
    config = str(image.parent / "edge.yaml")
    program = ["--program", "/opt/vedette/bin/vedette"]
    arguments = ["--config", config, "--root", str(image), *program, "--yes", *more]
    return CliRunner().invoke(install, arguments, catch_exceptions=False).output


def test_an_image_gets_what_it_needs_once_and_loses_only_the_service(image: Path) -> None:
    """Dry run writes nothing; the second run does nothing; uninstalling keeps what was recorded."""
    assert "would write /etc/vedette/edge.yaml" in run_install(image, "--dry-run")
    assert not (image / "etc/vedette").exists()
    assert "installed" in run_install(image)
    config = image / "etc/vedette/edge.yaml"
    assert config.read_text() == TEXT
    assert config.stat().st_mode & 0o007 == 0  # it may hold cameras' passwords
    assert (image / "var/lib/vedette").stat().st_mode & 0o777 == 0o700
    (image / "var/lib/vedette/spool.db").write_text("precious")
    if os.geteuid() == 0:  # the numbers are those of the image, whose accounts are its own
        for path in (image / "var/lib/vedette", config):
            assert path.stat().st_gid == 999
        assert (image / "var/lib/vedette").stat().st_uid == 999
        assert "everything is as it should be" in run_install(image)
    gone = CliRunner().invoke(uninstall, ["--root", str(image), "--yes"], catch_exceptions=False)
    assert "removed" in gone.output
    assert not (image / "etc/systemd/system/vedette-edge.service").exists()
    assert (image / "var/lib/vedette/spool.db").read_text() == "precious"
    assert config.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving folders away needs root")
def test_a_link_of_the_service_leads_an_installation_nowhere(tmp_path: Path) -> None:
    """Who took the service over puts a link to another's folder where its models lie."""
    state, victim = tmp_path / "state", tmp_path / "victim"
    victim.mkdir(0o755)
    (victim / "shadow").touch()
    state.mkdir()
    (state / "inner").mkdir()
    (state / "inner" / "link").symlink_to(victim / "shadow")
    carry.carry_out(MakeFolder(state, "nobody", 0o700), Path("/"))
    assert state.stat().st_uid == (state / "inner").stat().st_uid != 0
    (state / "models").symlink_to(victim)
    for path in (state / "models", state / "models" / "below"):
        with pytest.raises(ConfigError, match="link"):
            carry.carry_out(MakeFolder(path, "nobody", 0o700), Path("/"))
    assert (victim.stat().st_uid, victim.stat().st_mode & 0o777) == (0, 0o755)
    assert (victim / "shadow").stat().st_uid == 0


@pytest.mark.parametrize("user", ["", "-x", "a b", "vedette\nExecStart=/bin/sh", "x" * 40])
def test_what_cannot_name_an_account_is_refused(user: str) -> None:
    """It would be an option of useradd, or a line of the unit."""
    with pytest.raises(ConfigError, match="account"):
        plan.decide(msgspec.structs.replace(WISH, user=user), Facts())
