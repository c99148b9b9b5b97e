"""The pages of the settings in every state."""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.alerting.facts import Contact, Severity
from vedette.central.audit import Check, Entry
from vedette.central.console import specimens
from vedette.central.console.page import Page
from vedette.central.console.settings import (
    present,
    present_log,
    present_places,
    present_upkeep,
    quiet,
    week,
)
from vedette.central.console.settings.frame import Frame
from vedette.central.console.settings.present import Form, Scope, Secret
from vedette.central.console.settings.present_log import LogQuery
from vedette.central.console.settings.present_places import NewSite, SitePage
from vedette.central.console.settings.quiet import Asked
from vedette.central.enrolment import Claim, Site
from vedette.central.hours import Hours
from vedette.central.people import Held, Person
from vedette.central.settings import Retention
from vedette.central.tree import Folder, Group, SitePlace
from vedette.central.upkeep import Condition, JobRun, Kept, Partitions, families
from vedette.errors import ConfigError

_NOW: Final = specimens.NOW_MS
_HOUR: Final = specimens.HOUR_MS
_DAY: Final = specimens.DAY_MS
_HOSTILE: Final = "\"><script>alert(1)</script><b x='"
_FIREFOX: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"
_PHONE: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)


def person(username: str = "ada", **changes: object) -> Person:
    """Return a user."""
    return msgspec.structs.replace(
        Person(
            username=username,
            role="admin",
            sites=None,
            folders=[],
            created_ms=_NOW - 90 * _DAY,
            disabled_ms=None,
            has_password=True,
            issuer="",
            seen_ms=_NOW - 40_000,
            sessions=2,
            tokens=1,
            link_until_ms=None,
        ),
        **changes,
    )


def held(number: int, username: str = "ada", kind: str = "browser", **changes: object) -> Held:
    """Return a session or a token."""
    return msgspec.structs.replace(
        Held(
            token=f"{number:016x}",
            username=username,
            kind=kind,
            label="",
            address="192.0.2.17",
            agent=_FIREFOX,
            created_ms=_NOW - 3 * _HOUR,
            seen_ms=_NOW - 5_000,
            expires_ms=_NOW + 9 * _HOUR,
        ),
        **changes,
    )


PEOPLE: Final = [
    person(),
    person(
        "installer@partner.example",
        role="operator",
        sites=["lisbon-3", "porto-1"],
        folders=["europe/portugal"],
        seen_ms=_NOW - 9 * _DAY,
        sessions=0,
        tokens=0,
    ),
    person(
        "new-colleague",
        role="viewer",
        has_password=False,
        seen_ms=None,
        sessions=0,
        tokens=0,
        link_until_ms=_NOW + 20 * _HOUR,
    ),
    person("olga", role="reviewer", issuer="https://login.example", has_password=False),
    person("was-here", disabled_ms=_NOW - _DAY, sessions=0, tokens=0, seen_ms=_NOW - 40 * _DAY),
    person(
        "x" * 64,
        role="viewer",
        sites=[f"a-site-with-a-long-name-{n}" for n in range(14)],
        folders=["europe/portugal/lisbon/centre/streets"],
    ),
]

SESSIONS: Final = [
    held(1),
    held(2, agent=_PHONE, address="2001:db8:85a3::8a2e:370:7334", seen_ms=_NOW - 4 * _HOUR),
    held(3, agent=_HOSTILE, address="", seen_ms=_NOW - 8 * _HOUR),
    held(4, "olga", agent="python-httpx/0.28.1", seen_ms=_NOW - 30 * 60_000),
]

TOKENS: Final = [
    held(5, kind="api", label="nightly report", expires_ms=_NOW + 80 * _DAY),
    held(6, kind="api", label=_HOSTILE, seen_ms=_NOW - 3 * _HOUR, expires_ms=_NOW + 2 * _DAY),
    held(7, "olga", kind="api", label="w" * 60, expires_ms=_NOW + 300 * _DAY),
]

LINK: Final = Secret(
    what="One-time link for new-colleague, shown this once",
    text="https://vedette.example/setup/" + "A1b2" * 8,
    use="Give it to them over a way that you trust. It sets a password, works once, for a day.",
)


def entries() -> list[Entry]:
    """Return a stretch of the audit log."""
    said = [
        ("ada", "user.add", "new-colleague", b"{}"),
        ("ada", "user.scope", "new-colleague", b'{"role":"viewer","sites":["lisbon-3"]}'),
        ("nobody", "session.refuse", _HOSTILE, b'{"address":"198.51.100.7"}'),
        ("olga", "thumbnail.look", "lisbon-3-1/door", b'{"request":"req-1"}'),
        ("terminal", "folder.move", "europe", b'{"to":"emea","sites":' + b'["s"]' * 1 + b"}"),
        ("ada", "settings.sign", "lisbon-3-1", b'{"why":"' + b"long " * 90 + b'"}'),
    ]
    return [
        Entry(
            number=9_000 - n,
            at_ms=_NOW - n * 7 * 60_000,
            actor=actor,
            action=action,
            target=target,
            detail=detail,
            prev_hash=bytes(32),
            hash=bytes(32),
        )
        for n, (actor, action, target, detail) in enumerate(said)
    ]


def checked(broken: int | None = None) -> Check:
    """Return how far the chain was followed."""
    return Check(
        number=(broken or 9_001) - 1,
        hash=bytes(32),
        whole_ms=_NOW - 7 * _HOUR,
        checked_ms=_NOW - 20 * 60_000,
        broken=broken,
    )


def place(site: str = "lisbon-3", **changes: object) -> SitePlace:
    """Return a site as it is organised."""
    made = SitePlace(
        site=site,
        name="Lisbon, Rua Augusta",
        time_zone="Europe/Lisbon",
        folder="europe/portugal/lisbon",
        hours=msgspec.json.encode(OPENING),
        labels={"tier": "gold", "opened": "2019"},
    )
    return msgspec.structs.replace(made, **changes)


OPENING: Final = Hours(
    weekly={
        "mo": [("09:00", "12:30"), ("13:30", "20:00")],
        "tu": [("09:00", "20:00")],
        "we": [("09:00", "20:00")],
        "th": [("09:00", "20:00")],
        "fr": [("18:00", "02:00")],
        "sa": [("00:00", "24:00")],
    },
    exceptions={"2026-03-06": [], "2026-03-09": [("10:00", "14:00")]},
)


def claim(number: int, **changes: object) -> Claim:
    """Return a claim."""
    made = Claim(
        claim=f"{number:016x}",
        site="lisbon-3",
        device=None,
        replaces=False,
        made_by="ada",
        created_ms=_NOW - 2 * _HOUR,
        expires_ms=_NOW + 22 * _HOUR,
        used_ms=None,
        used_by=None,
    )
    return msgspec.structs.replace(made, **changes)


CLAIMS: Final = [
    claim(1),
    claim(2, device="closet-1", replaces=True, made_by="installer@partner.example"),
    claim(3, used_ms=_NOW - _HOUR, used_by="closet-2"),
    claim(4, site="porto-1", expires_ms=_NOW - _DAY, created_ms=_NOW - 2 * _DAY),
]


def site_page(*, whole: bool, **changes: object) -> SitePage:
    """Return what the page of a site knows; `whole`: nothing is missing."""
    site = Site(
        site="lisbon-3",
        name="Lisbon, Rua Augusta",
        time_zone="Europe/Lisbon",
        site_keys=["ed25519:" + "Qk3x" * 11] if whole else [],
        site_threshold=1,
        site_keys_version=1,
        policy=None,
        policy_version=3 if whole else 0,
    )
    return SitePage(
        place=msgspec.structs.replace(place(), **changes),
        site=site,
        devices=["lisbon-3-1"] if whole else [],
        claims=[] if whole else CLAIMS[:1],
    )


FOLDERS: Final = [
    Folder(folder="", sites=2, below=240),
    Folder(folder="europe", sites=0, below=238),
    Folder(folder="europe/portugal", sites=1, below=120),
    Folder(folder="europe/portugal/lisbon", sites=119, below=119),
    Folder(folder="europe/" + "a-long-name-of-a-country", sites=118, below=118),
]

GROUPS: Final = [
    Group(
        name="pilot",
        expression="folder:europe/portugal/** label:tier=gold -label:test",
        note="where new models go first",
        changed_ms=_NOW - 9 * _DAY,
        changed_by="ada",
    ),
    Group(
        name="jetsons",
        expression="hardware:*orin* or hardware:*xavier*",
        note=_HOSTILE,
        changed_ms=_NOW - _DAY,
        changed_by="olga",
    ),
]


PARTITIONS: Final = [
    Partitions(keep_days=7, count=10, first_day="2026-02-23", last_day="2026-03-04", stray_bytes=0),
    Partitions(
        keep_days=90, count=93, first_day="2025-12-02", last_day="2026-03-04", stray_bytes=81_920
    ),
]


def kept(*, young: bool = False) -> list[Kept]:
    """Return every family of tables; `young`: nothing is known of its growth."""
    return [
        Kept(
            family=family,
            bytes=8192 if young else (n + 1) * 731_000_000 // (1 + 5 * (n % 3)),
            rows=None if young else (n + 1) * 1_234_567,
            oldest_ms=None if young or n % 4 == 3 else _NOW - (family.days or 400) * _DAY,
            growth_bytes=None if young else (n - 3) * 4_100_000.0,
        )
        for n, family in enumerate(families(Retention()))
    ]


def condition(*, well: bool = True) -> Condition:
    """Return central's condition; not `well`: everything is wrong at once."""
    job = JobRun(job="hours and days", ended_ms=_NOW - 12_000, took_ms=184, failed_ms=None, why="")
    failed = JobRun(
        job="retention",
        ended_ms=_NOW - 9 * _HOUR,
        took_ms=92_000,
        failed_ms=_NOW - 20_000,
        why="the database failed: " + "canceling statement " * 12,
    )
    never = JobRun(job="sizes", ended_ms=None, took_ms=0, failed_ms=None, why="")
    return Condition(
        at_ms=_NOW,
        version="0.1.0",
        uptime_s=812_000.0 if well else None,
        database="17.2",
        database_bytes=18_400_000_000,
        connections=9,
        taken=48_211_934,
        waiting=0 if well else 182_000,
        contact_ms=_NOW - 1_000 if well else None,
        unmerged=3 if well else 1_204,
        unmerged_since_ms=None if well else _NOW - 5 * _HOUR,
        disk_free=0.62 if well else 0.021,
        disk_free_bytes=812_000_000_000 if well else 900_000_000,
        backup_ms=_NOW - 8 * _HOUR if well else _NOW - 19 * _DAY,
        backup_bytes=4_200_000_000,
        jobs=[job, msgspec.structs.replace(job, job="inventory", took_ms=7)]
        if well
        else [job, failed, never],
        partitions=PARTITIONS[:1] if well else PARTITIONS,
        tomorrow=well,
        clock_held_ms=None if well else 3_600_000,
        chain=checked(None if well else 4711),
        is_open=not well,
    )


def _site_lines() -> list[present_places.SiteLine]:
    made = [
        place(),
        place("porto-1", name="", hours=None, labels={}, folder=""),
        place("x" * 60, name=_HOSTILE, labels={f"label-{n}": "v" * 20 for n in range(9)}),
    ]
    return [present_places.line_of(one, _NOW) for one in made]


def _operator(page: Page) -> Frame:
    looker = msgspec.structs.replace(page.looker, role="operator")
    return Frame(page=msgspec.structs.replace(page, looker=looker), whole=False)


def _sites(frame: Frame, lines: list[present_places.SiteLine], q: str = "") -> str:
    return present_places.sites_html(
        frame,
        lines,
        q,
        NewSite(),
        total=len(lines),
        folders=["europe/portugal"],
        zones=["UTC", "Europe/Lisbon"],
    )


def _frame(page: Page, **changes: object) -> Frame:
    return msgspec.structs.replace(Frame(page=page), **changes)


def _viewer(page: Page) -> Frame:
    looker = msgspec.structs.replace(page.looker, username="vic", role="viewer")
    return Frame(page=msgspec.structs.replace(page, looker=looker), whole=False)


_ALL: Final = Scope(sites=None, folders=[])
_SOME: Final = Scope(sites=["lisbon-3", "porto-1"], folders=["europe/portugal/lisbon"])

_CONTACTS: Final = [
    Contact(channel="mail", address="olga@example.org"),
    Contact(
        channel="phone",
        address="olga-phone",
        least=Severity.WARNING,
        quiet={"fr": [("22:00", "06:00")], "sa": [("00:00", "24:00")], "su": [("00:00", "24:00")]},
        time_zone="Europe/Lisbon",
    ),
]
_TYPED: Final = Asked(
    channel="phone",
    address="olga-phone",
    seen=quiet.seen_of(_CONTACTS[1]),
    week={"mo": "22-6", "sa": "00:00-24:00", "su": _HOSTILE},
    time_zone="Europe/Lisbon",
)


def _reached(asked: Asked | None = None) -> present.Reached:
    wrong = ConfigError(
        "these hours cannot be: mo: '22' is no time, as in 09:00", operator_hint="as 22:00-06:00"
    )
    return present.Reached(
        contacts=_CONTACTS,
        quiet=quiet.forms_of(_CONTACTS, asked, wrong if asked else None),
        channels=["control-room", "mail", "phone"],
        zones=["Europe/Lisbon", "UTC"],
    )


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "settings-account": lambda page: present.account_html(
        _frame(page), _ALL, _NOW + 9 * _HOUR, has_password=True, reached=_reached()
    ),
    "settings-account-quiet": lambda page: present.account_html(
        _frame(page), _ALL, _NOW + 9 * _HOUR, has_password=True, reached=_reached(_TYPED)
    ),
    "settings-account-viewer": lambda page: present.account_html(
        msgspec.structs.replace(_viewer(page), problem="The present password is wrong.", hint=""),
        _SOME,
        _NOW + 9 * _HOUR,
        has_password=False,
        reached=present.Reached(problems=["vic has no contact"]),
    ),
    "settings-sessions": lambda page: present.sessions_html(
        _frame(page, done="session-ended"), SESSIONS, SESSIONS[0].token, everybody=True
    ),
    "settings-tokens": lambda page: present.tokens_html(
        _frame(page),
        TOKENS,
        everybody=True,
        fresh=Secret(what="The new token, shown this once", text="s3cret" * 8, use="Use it as …"),
    ),
    "settings-tokens-empty": lambda page: present.tokens_html(_viewer(page), [], everybody=False),
    "settings-users": lambda page: present.users_html(_frame(page), PEOPLE, Form(), LINK),
    "settings-users-problem": lambda page: present.users_html(
        _frame(page, problem="There is a user ada already.", hint="Change that one's role."),
        PEOPLE[:2],
        Form(username="ada", role="operator", folders="europe/portugal", sites="lisbon-3"),
    ),
    "settings-user": lambda page: present.user_html(_frame(page), PEOPLE[0], SESSIONS + TOKENS),
    "settings-user-disabled": lambda page: present.user_html(_frame(page), PEOPLE[4], []),
    "settings-audit": lambda page: present_log.audit_html(
        _frame(page), LogQuery(), entries(), checked(), has_more=True
    ),
    "settings-audit-broken": lambda page: present_log.audit_html(
        _frame(page), LogQuery(who="ada", below="8000"), entries(), checked(4711), has_more=False
    ),
    "settings-audit-empty": lambda page: present_log.audit_html(
        _frame(page), LogQuery(what="zzz"), [], None, has_more=False
    ),
    "settings-sites": lambda page: _sites(_frame(page, done="site-added"), _site_lines()),
    "settings-sites-empty": lambda page: _sites(_frame(page), []),
    "settings-sites-nothing": lambda page: _sites(_operator(page), [], "label:none"),
    "settings-site": lambda page: present_places.site_html(_frame(page), site_page(whole=True)),
    "settings-site-new": lambda page: present_places.site_html(
        _frame(page, done="site-added"), site_page(whole=False, hours=None, labels={})
    ),
    "settings-site-refused": lambda page: present_places.site_html(
        _frame(page, problem="These hours cannot be: mo: '9:00' is no time, as in 09:00."),
        site_page(whole=True),
        hours_form=week.posted({"when": "hours", "mo": "9:00-12", "exceptions": "tomorrow"}),
    ),
    "settings-site-operator": lambda page: present_places.site_html(
        _operator(page), site_page(whole=True)
    ),
    "settings-folders": lambda page: present_places.folders_html(
        _frame(page), FOLDERS, old="europe", new="emea"
    ),
    "settings-folders-empty": lambda page: present_places.folders_html(_operator(page), []),
    "settings-groups": lambda page: present_places.groups_html(
        _frame(page), GROUPS, {"pilot": 312}
    ),
    "settings-groups-empty": lambda page: present_places.groups_html(_operator(page), [], {}),
    "settings-claims": lambda page: present_places.claims_html(
        _frame(page), CLAIMS, ["lisbon-3"], used=True, fresh=LINK
    ),
    "settings-claims-empty": lambda page: present_places.claims_html(
        _frame(page), [], ["lisbon-3"], used=False, form=("lisbon-3", "")
    ),
    "settings-retention": lambda page: present_upkeep.retention_html(
        _frame(page), kept(), PARTITIONS, file="central.yaml"
    ),
    "settings-retention-young": lambda page: present_upkeep.retention_html(
        _frame(page), kept(young=True), [], file="central.yaml"
    ),
    "settings-health": lambda page: present_upkeep.health_html(_frame(page), condition()),
    "settings-health-wrong": lambda page: present_upkeep.health_html(
        _frame(page), condition(well=False)
    ),
}
