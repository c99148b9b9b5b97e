"""The fleet page without a database: filters, order, sections, and what is not sent twice."""

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from vedette.central.console import places, specimens
from vedette.central.console.fleet import filters as asking
from vedette.central.console.fleet import present, together
from vedette.central.console.fleet import specimens as fleet
from vedette.central.console.fleet.filters import Facts, FleetFilters
from vedette.central.console.page import Page
from vedette.central.console.render import Looker
from vedette.central.coverage import AWAITING
from vedette.central.tree import Place
from vedette.central.views import Segment, SiteRow
from vedette.wire.messages import Cause

LOOKER = Looker(username="ada", role="admin", csrf="token-of-ada")
PAGE = Page(looker=LOOKER, now_ms=specimens.NOW_MS, self_url="/")
PART = msgspec.structs.replace(PAGE, part=True)
FACTS = Facts(now_ms=specimens.NOW_MS, throttled_s={"harbour-a": 90.0})
SITES = specimens.fleet().sites
VERSION = re.compile(r'data-v="([0-9a-f]+)"')


def left(**asked: str) -> set[str]:
    """Return the cameras that filters leave."""
    found = asking.chosen(SITES, asking.read(asked), FACTS)
    return {c.camera for s in found for d in s.devices for c in d.cameras}


def html(filters: FleetFilters | None = None, page: Page = PAGE) -> str:
    """Return the page of the small made-up fleet."""
    return present.fleet_html(fleet.view(specimens.fleet(), filters), page).html


def test_a_fleet_of_one_camera_is_told_in_the_singular() -> None:
    """What the filters hide, and what they find."""
    mill = next(site for site in SITES if site.site == "mill")
    box = msgspec.structs.replace(mill.devices[0], cameras=mill.devices[0].cameras[:1])
    one = msgspec.structs.replace(
        specimens.fleet(), sites=[msgspec.structs.replace(mill, devices=[box])], counts={"ok": 1}
    )
    nothing = present.fleet_html(fleet.view(one, FleetFilters(q="zzz")), PAGE).html
    assert "1 camera at 1 site is hidden by the filters" in nothing
    found = present.fleet_html(fleet.view(one, FleetFilters(q="mill")), PAGE).html
    assert "1 of 1 camera at 1 of 1 site matches." in found


def test_the_worst_site_device_and_camera_come_first() -> None:
    """Dark before down before degraded before ok, at every level."""
    sites = asking.chosen(SITES, FleetFilters(state="trouble"), FACTS)
    assert [site.site for site in sites] == ["harbour", "north", "mill"]
    text = html(FleetFilters(opened=("mill",)))
    mill = text[text.index('id="site-mill"') :]
    names = ("/hall", "/cellar", "/attic", "/yard", "/stairs")
    places_of = [mill.index(f"mill-1{name}") for name in names]
    assert places_of == sorted(places_of)


def test_filters_leave_only_what_was_asked_for() -> None:
    """By state, by anything wrong, and by words that may stand in site, device or camera."""
    assert left(state="dark") == {"till", "gate"}
    assert "attic" not in left(state="trouble")
    assert left(q="mill hall") == {"hall"}
    assert left(q="no such thing") == set()
    assert left(cause="Covered") == {"aisle-2"}
    assert left(cause="CAMERA_DOWN") == {"dock"}
    assert left(cause="settings") == {"till", "gate"}


def test_what_was_throttled_this_week_is_a_filter_with_its_length() -> None:
    """Held back now, or in the last seven days by what was laid out of its reports."""
    assert left(cause="throttled-7d") == left(cause="throttled") | {"till", "gate"}
    text = html(FleetFilters(cause=asking.THROTTLED_WEEK))
    assert "throttled 1 h 30 min in the last 7 days" in text


def test_since_asks_when_the_trouble_began() -> None:
    """Five hours ago is within a day and more than an hour; nothing that began at no time is."""
    assert "aisle-2" in left(cause="Covered", since="old-1h")
    assert "aisle-2" in left(cause="Covered", since="new-24h")
    assert left(cause="Covered", since="old-24h") == set()
    assert "cellar" not in left(since="old-1h")


def test_folders_and_selections_cut_the_fleet() -> None:
    """A folder means itself and all below; a selection is what the language says it is."""
    sites = fleet.placed(specimens.fleet()).sites
    norway = asking.chosen(sites, FleetFilters(folder="europe/norway"), FACTS)
    assert {site.site for site in norway} == {"north", "harbour"}
    assert asking.chosen(sites, FleetFilters(folder="euro"), FACTS) == []
    chosen = frozenset({Place(site="mill", device="mill-1", camera="hall")})
    facts = msgspec.structs.replace(FACTS, selected=chosen)
    found = asking.chosen(sites, FleetFilters(sel="camera:hall"), facts)
    assert [c.camera for s in found for d in s.devices for c in d.cameras] == ["hall"]


TEXT = st.text(max_size=30)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: TEXT | st.sampled_from(["trouble", "Covered", "new-1h", "grid", "7", "a,b"])
            for name in ("q", "state", "cause", "since", "sel", "group", "folder", "view", "range",
                         "show", "open")
        },
    )
)  # fmt: skip
def test_every_url_can_be_read_and_says_the_same_again(asked: dict[str, str]) -> None:
    """Whatever stands in a URL is no error, and what is made of it is stable and bounded."""
    filters = asking.read(asked)
    query = asking.fleet_url(filters).partition("?")[2]
    again = asking.read(dict(asking.parse_qsl(query)))
    assert again == filters
    assert 0 < filters.show <= asking.MOST
    assert asking.plain_query(asking.plain_query(query)) == asking.plain_query(query)


def test_a_device_without_cameras_is_not_hidden() -> None:
    """One that was enrolled and never spoke is exactly what somebody looks for."""
    text = html()
    assert "mill-2" in text
    assert "never heard from" in text


def test_healthy_sites_are_one_row_that_opens() -> None:
    """A row with the worst of its cameras at each moment; its address opens it, script or not."""
    wide = specimens.wide_fleet(60)
    text = present.fleet_html(fleet.view(wide), PAGE).html
    assert text.count('class="panel site thin"') == asking.PAGE - 3
    assert "Show 13 more sites" in text
    opened = present.fleet_html(fleet.view(wide, FleetFilters(opened=("site-004",))), PAGE).html
    assert opened.count('class="panel site thin"') == asking.PAGE - 4
    assert "/sites/site-004/cameras/box-004/tills" in opened


def test_a_grid_has_a_cell_for_every_site_with_shape_word_and_share() -> None:
    """No site is left out, none is without words, and no data is hatched, not a number."""
    wide = specimens.wide_fleet(230)
    view = fleet.view(wide, FleetFilters(view="grid"))
    text = present.fleet_html(view, PAGE).html
    assert text.count('class="cell is-') == 233
    assert (
        len(re.findall(r'aria-label="[^"]+ (?:[0-9]+ % observed|no data), [a-z ]+"', text)) == 233
    )
    nothing = msgspec.structs.replace(view, shares={})
    assert present.fleet_html(nothing, PAGE).html.count('class="hatched"') == 233


def test_what_a_browser_has_is_not_sent_again() -> None:
    """A refresh with nothing new names every section and sends none; one change sends one."""
    view = fleet.view(specimens.wide_fleet(40))
    first = present.fleet_html(view, PAGE)
    have = frozenset(VERSION.findall(first.html))
    assert first.version in have
    same = present.fleet_html(view, PART, have)
    assert same.version == first.version
    assert same.html.count("data-kept") == 43
    row = view.shown[5]
    changed = msgspec.structs.replace(row, name="Renamed")
    shown = [*view.shown[:5], changed, *view.shown[6:]]
    later = present.fleet_html(msgspec.structs.replace(view, shown=shown), PART, have)
    assert later.version != first.version
    assert later.html.count("data-kept") == 42
    assert "Renamed" in later.html
    assert len(later.html) < len(first.html) / 2


def test_a_version_does_not_move_with_the_clock_alone() -> None:
    """Ages are counted by the browser: the same fleet ten seconds later is the same page."""
    view = fleet.view(specimens.fleet())
    later = msgspec.structs.replace(PAGE, now_ms=PAGE.now_ms + 10_000)
    assert present.fleet_html(view, PAGE).version == present.fleet_html(view, later).version


def test_the_live_part_is_the_same_panel_as_in_the_page() -> None:
    """What htmx swaps in has the id and the question of what it replaces, and no page around it."""
    part = Page(looker=LOOKER, now_ms=specimens.NOW_MS, self_url="/?q=a", part=True)
    text = html(FleetFilters(q="a"), part)
    assert text.lstrip().startswith('<div id="fleet"')
    assert 'hx-get="/?q=a"' in text
    assert "<html" not in text


def test_a_selection_that_cannot_be_read_is_said_in_the_page() -> None:
    """Where the mistake is and what would be right, and no fleet that looks like the answer."""
    text = fleet.PATTERNS["fleet-unreadable"](PAGE)
    assert "there is no field" in text
    assert "label:tier=gold" in text
    assert 'class="panel site' not in text


def segment(start: int, end: int, cause: str | None = None) -> Segment:
    """Return a stretch of a strip in seconds."""
    return Segment(start_ms=start * 1000, end_ms=end * 1000, cause=cause)


def test_the_strip_of_a_site_is_the_worst_of_its_cameras() -> None:
    """A gap of one is a gap; what another observed covers what one is yet to report or was off."""
    first = [segment(0, 50), segment(50, 60, Cause.CAMERA_DOWN), segment(60, 100)]
    second = [segment(0, 90, Cause.SCHEDULED_OFF), segment(90, 100, AWAITING)]
    assert together.worst([first, second]) == first
    third = [segment(40, 55, Cause.TAMPERED), segment(55, 100)]
    causes = [s.cause for s in together.worst([first, second, third])]
    assert causes == [None, Cause.TAMPERED, Cause.CAMERA_DOWN, None]


def test_the_fresh_edge_of_a_strip_moves_in_steps() -> None:
    """It would else differ at every report, and every refresh send every strip again."""
    one = together.settled([segment(0, 95), segment(95, 120, AWAITING)], 30_000)
    two = together.settled([segment(0, 101), segment(101, 120, AWAITING)], 30_000)
    assert one == two == [segment(0, 90), segment(90, 120, AWAITING)]


def test_the_palette_finds_by_any_names_together_and_names_that_begin_so_first() -> None:
    """Camera by its site and its own name; a site before the devices and cameras in it."""
    sites: list[SiteRow] = specimens.wide_fleet(40).sites
    found = places.find(sites, "store 007 til", "viewer")
    assert [(p.text, p.kind) for p in found] == [("tills", "camera · Store 007 · box-007")]
    assert found[0].href == "/sites/site-007/cameras/box-007/tills"
    kinds = [p.kind for p in places.find(sites, "north", "viewer")]
    assert kinds[0] == "site"
    assert len(places.find(sites, "o", "viewer")) == places.MOST
    texts = [p.text for p in places.find(sites, "", "viewer")]
    assert "Fleet" in texts
    assert "north-1" not in texts
