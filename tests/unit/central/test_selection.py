"""The selection language: what it means, what it refuses, and that no text makes it slow."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.central.selection import (
    All,
    Any,
    Not,
    Subject,
    Word,
    fits_folder,
    fits_text,
    is_in,
    matches,
    moved,
    parse,
    rename_folder,
    resolve_groups,
    text_of,
)
from vedette.central.selection_index import Index
from vedette.errors import ConfigError

LISBON = Subject(
    site="lisbon",
    device="lisbon-1",
    folder="europe/portugal/lisbon",
    labels={"tier": "gold", "kind": "mall"},
    values={
        "state": frozenset({"ok"}),
        "hardware": frozenset({"NVIDIA Jetson Orin Nano"}),
        "version": frozenset({"0.4.1"}),
        "camera": frozenset({"door", "till"}),
    },
)


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "folder:europe/** label:tier=gold hardware:*orin* -device:x",
        "folder:**",
        "folder:europe/*/lisbon",
        "folder:europe/portugal/lisbon/**",
        "state:dark or state:ok",
        "-(state:dark or camera:gate)",
        "camera:door,gate",
        "label:tier label:kind=m*",
        "version:>=0.4 version:<0.5",
        "version:0.4.*",
        'hardware:"NVIDIA Jetson Orin Nano"',
        "(state:dark or label:tier=gold) -label:test",
    ],
)
def test_what_is_meant_is_selected(text):
    """Every kind of word, alone and together."""
    assert matches(parse(text), LISBON)


@pytest.mark.parametrize(
    "text",
    [
        "-*",
        "folder:europe",
        "folder:europe/*",
        "folder:europ/**",
        "label:tier=silver",
        "-label:tier",
        "-camera:door",
        "state:dark",
        "make:*",
        "version:>0.4.1",
        "version:<0.4",
        "state:ok state:dark",
    ],
)
def test_what_is_not_meant_is_not_selected(text):
    """A word without any value to fit does not hold, whatever it says."""
    assert not matches(parse(text), LISBON)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nothing is selected"),
        ("lisbon", "no `field:value`"),
        ("colour:red", "no field 'colour'"),
        ("device:", "without a value"),
        ("label:=x", "cannot name a label"),
        ("folder:a//b", "no folder"),
        ("version:>new", "no comparison"),
        ("(device:a", "not closed"),
        ("device:a)", "without its other bracket"),
        ("device:a or", "something is missing"),
        ("-", "nothing follows"),
        ('device:"a', "quote"),
        ("(" * 40 + "device:a" + ")" * 40, "brackets in each other"),
        ("-" * 300 + "device:a", "more than 200 words"),
        ("device:" + "a" * 3000, "longer than"),
    ],
)
def test_a_mistake_is_named_with_its_place(text, says):
    """The message says what is wrong; nothing is half understood."""
    with pytest.raises(ConfigError, match=re.escape(says)):
        parse(text)


def test_groups_stand_for_what_they_say_and_cannot_turn_in_circles():
    """A group may name groups; one that leads back to itself, or to none, is refused."""
    groups = {
        "gold": "label:tier=gold",
        "both": "group:gold state:ok",
        "a": "group:b",
        "b": "group:a",
    }
    assert matches(resolve_groups(parse("group:both"), groups), LISBON)
    assert not matches(resolve_groups(parse("-group:gold"), groups), LISBON)
    with pytest.raises(ConfigError, match="circle"):
        resolve_groups(parse("group:a"), groups)
    with pytest.raises(ConfigError, match="no group 'none'"):
        resolve_groups(parse("group:none"), groups)


def test_groups_that_multiply_are_refused_before_they_do():
    """Fifteen groups that name the next one ten times would be ten to the fifteenth words."""
    groups = {f"g{n}": " or ".join([f"group:g{n + 1}"] * 10) for n in range(15)} | {"g15": "site:a"}
    with pytest.raises(ConfigError, match="words"):
        resolve_groups(parse("group:g0"), groups)


def test_a_selection_follows_a_folder_that_moves():
    """Words that begin with the moved path go with it; others stay."""
    node = rename_folder(parse("folder:europe/portugal/** or folder:europe/*/x"), "europe", "emea")
    assert text_of(node) == "folder:emea/portugal/** or folder:emea/*/x"
    kept = parse("folder:*/portugal")
    assert rename_folder(kept, "europe", "emea") == kept


slugs = st.from_regex(r"[a-z][a-z0-9]{0,3}", fullmatch=True)
paths = st.lists(slugs, max_size=4).map("/".join)
words = st.one_of(
    st.builds(lambda v: Word("device", (v,)), slugs),
    st.builds(lambda k, v: Word("label", (f"{k}={v}",)), slugs, slugs),
    st.builds(lambda f: Word("folder", (f"{f}/**" if f else "**",)), paths),
    st.builds(lambda v: Word("label", (v,)), slugs),
    st.builds(lambda v, w: Word("hardware", (f"*{v}*", w)), slugs, slugs),
    st.builds(lambda v: Word("version", (v,)), st.sampled_from([">=0.4", "<0.4.2", "0.4", "*"])),
)
nodes = st.recursive(
    words,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(lambda parts: All(tuple(parts)), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda parts: Any(tuple(parts)), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=8,
)
subjects = st.builds(
    lambda site, device, folder, labels, versions, boards: Subject(
        site=site,
        device=device,
        folder=folder,
        labels=labels,
        values={"version": versions, "hardware": frozenset(map(str.upper, boards))},
    ),
    slugs,
    slugs,
    paths,
    st.dictionaries(slugs, slugs, max_size=2),
    st.frozensets(st.sampled_from(["0.4", "0.4.1", "0.10", "new"]), max_size=2),
    st.frozensets(slugs, max_size=2),
)


@given(nodes, subjects)
def test_a_selection_that_is_written_out_and_read_again_means_the_same(node, subject):
    """`text_of` loses nothing."""
    assert matches(parse(text_of(node)), subject) == matches(node, subject)


@given(st.lists(nodes, max_size=4), st.lists(subjects, max_size=12))
def test_many_selections_at_once_mean_what_each_means(asked, present):
    """The index finds exactly those subjects that `matches` does, in their order."""
    index = Index(present)
    for node in asked:
        alone = [subject for subject in present if matches(node, subject)]
        assert index.found(node) == alone
        assert index.has(node) == bool(alone)


@given(nodes, nodes, subjects)
def test_words_obey_logic(one, other, subject):
    """And, or and not are what they are called."""
    a, b = matches(one, subject), matches(other, subject)
    assert matches(All((one, other)), subject) == (a and b)
    assert matches(Any((one, other)), subject) == (a or b)
    assert matches(Not(one), subject) == (not a)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_a_pattern_fits_as_a_regular_expression_would(pattern, text):
    """The linear matcher agrees with the obvious one."""
    obvious = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text)
    assert fits_text(pattern, text) == (obvious is not None)


@given(paths, paths)
def test_two_stars_are_the_folder_and_all_below(above, folder):
    """`x/**` and `is_in` are one rule: scopes and selections cannot disagree."""
    assert fits_folder(f"{above}/**", folder) == is_in(folder, above)


@given(paths, paths, paths)
def test_a_move_takes_what_lies_below_and_nothing_else(folder, old, new):
    """What was in the folder is in the new place, with the same steps below."""
    there = moved(folder, old, new)
    if is_in(folder, old):
        assert is_in(there, new)
        assert there.count("/") - new.count("/") <= folder.count("/") + 1
    else:
        assert there == folder


def test_a_sibling_with_the_same_beginning_is_no_child():
    """`europe/port` holds nothing of `europe/portugal`."""
    assert not is_in("europe/portugal", "europe/port")
    assert moved("europe/portugal", "europe/port", "x") == "europe/portugal"


def test_a_hostile_pattern_ends_at_once():
    """A thousand stars against a long text: linear, not for ever."""
    assert not fits_text("*a" * 900 + "b", "a" * 100_000)
