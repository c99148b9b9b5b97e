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
from vedette.edge.install.inside import inside
from vedette.edge.install.plan import Facts, MakeFolder, MakeUser, Systemctl, Wish, WriteFile
from vedette.edge.settings import CentralLink, EdgeConfig, SystemSettings
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


@pytest.mark.parametrize("climb", ["", "../../../../../.."])
def test_links_of_an_image_lead_nowhere_out_of_it(image: Path, tmp_path: Path, climb: str) -> None:
    """Absolute or climbing, to folders and files: they mean the image, and it alone is changed."""
    outside = tmp_path / "outside"
    (outside / "vedette").mkdir(parents=True)
    (outside / "vedette" / "edge.yaml").write_text("another machine's\n")
    there = f"{climb}{outside}"
    (image / "etc/vedette").symlink_to(f"{there}/vedette")
    (image / "etc/systemd").symlink_to(there)
    (image / "var").symlink_to(there)
    assert "would write /etc/vedette/edge.yaml" in run_install(image, "--dry-run")
    assert "installed" in run_install(image)
    inner = image / outside.relative_to("/")
    assert (inner / "vedette/edge.yaml").read_text() == TEXT
    assert (inner / "system/vedette-edge.service").is_file()
    assert (inner / "lib/vedette").is_dir()
    CliRunner().invoke(uninstall, ["--root", str(image), "--yes"], catch_exceptions=False)
    assert not (inner / "system/vedette-edge.service").exists()
    found = sorted(path.relative_to(outside) for path in outside.rglob("*"))
    assert found == [Path("vedette"), Path("vedette/edge.yaml")]
    assert (outside / "vedette/edge.yaml").read_text() == "another machine's\n"


def test_a_file_of_an_image_that_is_a_link_is_replaced_not_followed(image: Path) -> None:
    """What it led to, in the image or not, keeps what it says."""
    (image / "etc/vedette").mkdir()
    (image / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (image / "etc/vedette/edge.yaml").symlink_to("/etc/hosts")
    run_install(image)
    assert (image / "etc/hosts").read_text() == "127.0.0.1 localhost\n"
    assert (image / "etc/vedette/edge.yaml").read_text() == TEXT


def test_links_in_a_circle_are_refused_in_words(tmp_path: Path) -> None:
    """Nobody waits for ever, and the name says where to look."""
    (tmp_path / "etc").symlink_to("/etc2")
    (tmp_path / "etc2").symlink_to("etc")
    with pytest.raises(ConfigError, match="circle: etc"):
        inside(tmp_path, Path("/etc/passwd"))


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


def test_a_program_with_an_environment_of_its_own_is_started_by_the_launcher() -> None:
    """The launcher is root's copy, and starts whatever the link in the state directory names."""
    wish = msgspec.structs.replace(
        WISH, python=Path("/opt/vedette/bin/python"), launcher_text="# the launcher\n"
    )
    files = {
        step.path: step.text for step in plan.decide(wish, Facts()) if isinstance(step, WriteFile)
    }
    assert files[plan.LAUNCHER] == "# the launcher\n"
    assert (
        f"ExecStart=/opt/vedette/bin/python -I -S {plan.LAUNCHER} {STATE}/program "
        "/opt/vedette/bin/vedette edge run --config /etc/vedette/edge.yaml"
    ) in files[plan.UNIT].splitlines()
    assert plan.DOOR not in files


def test_a_device_that_updates_its_system_gets_the_door() -> None:
    """Root looks when a request was written, and trusts the root metadata that root wrote."""
    config = msgspec.structs.replace(CONFIG, system=SystemSettings(adapter="apt"))
    wish = msgspec.structs.replace(WISH, config=config, tuf_root='{"signed":{}}')
    steps = plan.decide(wish, Facts())
    files = {step.path: step.text for step in steps if isinstance(step, WriteFile)}
    assert f"PathChanged={STATE}/system/request.json" in files[plan.DOOR_PATH]
    assert "edge system-door --config /etc/vedette/edge.yaml" in files[plan.DOOR]
    assert files[plan.TUF_ROOT] == '{"signed":{}}'
    assert Systemctl(("enable", "--now", "vedette-system.path")) in steps
    removed = plan.decide_removal(after(Facts(), steps))
    assert {plan.DOOR, plan.DOOR_PATH} <= {step for step in removed if isinstance(step, Path)}
    assert plan.TUF_ROOT not in removed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ["virtual environment of its own"]),
        ({"python": STATE, "has_pip": False}, ["no pip"]),
        ({"python": STATE}, []),
        ({"python": STATE, "adapter": "apt"}, ["trusts no repository"]),
        ({"python": STATE, "adapter": "apt", "tuf_root": "{}"}, []),
        ({"python": STATE, "adapter": "rauc"}, []),
        ({"central": None}, []),
    ],
)
def test_what_rollouts_could_not_update_is_said_when_a_device_is_installed(
    change: dict[str, object], words: list[str]
) -> None:
    """With tools in hand, and not when the first update is refused."""
    change = dict(change)
    central = change.pop("central", CentralLink(url="https://central.example"))
    system = SystemSettings(adapter=change.pop("adapter", "none"))  # type: ignore[arg-type]
    config = msgspec.structs.replace(CONFIG, system=system, central=central)
    said = plan.shortcomings(msgspec.structs.replace(WISH, config=config, **change))
    assert len(said) == len(words)
    assert all(word in text for word, text in zip(words, said, strict=True))


def test_an_image_with_a_door_is_told_to_start_it_too(image: Path) -> None:
    """Systemd does not run in an image: what has to be enabled is named, and what is missing."""
    text = f"{TEXT}central: {{url: https://central.example}}\nsystem: {{adapter: apt}}\n"
    (image.parent / "edge.yaml").write_text(text)
    said = run_install(image)
    assert "enable vedette-edge.service vedette-system.path" in said
    assert "no virtual environment of its own" in said
    (image / "opt/vedette/bin").mkdir(parents=True)
    (image / "opt/vedette/pyvenv.cfg").write_text("")
    assert "has no pip" in run_install(image)
    pip = image / "opt/vedette/lib/python3.11/site-packages/pip"
    pip.mkdir(parents=True)
    (pip / "__main__.py").write_text("")
    assert "update the program" not in run_install(image)
