"""Which boxes are the same object, and which disagreements are sent: by their properties."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.edge.shadow.pairing import LEAST_IOU, Found, iou, pair
from vedette.edge.shadow.sampling import WINDOWS_PER_DAY, Sample, quota
from vedette.edge.shadow.tally import MAX_CLASSES, Names, Tally
from vedette.wire import codec
from vedette.wire.streams import stream

BOX = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(1, 40)).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]))
)
OBJECT = st.tuples(BOX, st.sampled_from(["person", "cart"]))
OBJECTS = st.lists(OBJECT, max_size=7)


def found(objects: list) -> Found:
    """Return objects as arrays."""
    boxes = np.array([box for box, _ in objects], np.float32).reshape(-1, 4)
    labels = tuple(label for _, label in objects)
    return Found(boxes, np.full(len(objects), 0.9, np.float32), labels)


@given(OBJECTS, OBJECTS)
def test_every_box_is_in_one_pair_or_alone(a: list, b: list) -> None:
    """Pairs are of one class and overlap enough; nothing is lost, nothing is used twice."""
    one, other = found(a), found(b)
    paired = pair(one, other)
    assert sorted([i for i, _ in paired.pairs] + list(paired.only_a)) == list(range(len(a)))
    assert sorted([j for _, j in paired.pairs] + list(paired.only_b)) == list(range(len(b)))
    overlap = iou(one.boxes_xyxy, other.boxes_xyxy)
    for i, j in paired.pairs:
        assert one.labels[i] == other.labels[j]
        assert overlap[i, j] >= LEAST_IOU
    for i in paired.only_a:
        for j in paired.only_b:
            assert one.labels[i] != other.labels[j] or overlap[i, j] < LEAST_IOU


@given(OBJECTS, OBJECTS, st.randoms(use_true_random=False))
def test_neither_order_nor_side_matters(a: list, b: list, shuffle: random.Random) -> None:
    """The same numbers come out whichever way the boxes are given."""
    straight = pair(found(a), found(b))
    mixed_a, mixed_b = shuffle.sample(a, len(a)), shuffle.sample(b, len(b))
    turned = pair(found(mixed_b), found(mixed_a))
    assert len(straight.pairs) == len(turned.pairs)
    assert (len(straight.only_a), len(straight.only_b)) == (len(turned.only_b), len(turned.only_a))


@given(OBJECTS)
def test_a_model_never_differs_from_itself(a: list) -> None:
    """Even where boxes lie on top of each other."""
    assert not pair(found(a), found(a)).differs


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(0, 6), st.integers(0, 999))
def test_a_sample_is_bounded_and_small_ones_are_whole(
    kinds: list[str], most: int, seed: int
) -> None:
    """Never more than asked for; where everything fits, each stands for itself alone."""
    generator = random.Random(seed)
    sample: Sample[int] = Sample(most, lambda: 1.0 - generator.random())
    for number, kind in enumerate(kinds):
        sample.offer(kind, lambda number=number: number)
    taken = sample.take()
    assert len(taken) == min(most, len(kinds))
    assert [value for value, _ in taken] == sorted(value for value, _ in taken)
    assert all(weight >= 1.0 for _, weight in taken)
    if len(kinds) <= most:
        assert taken == [(number, 1.0) for number in range(len(kinds))]
    assert sample.take() == [], "the next window begins empty"


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 10_000))
def test_weights_add_up_to_what_there_was(seed: int) -> None:
    """On average over draws, for all and for each kind; rare kinds are kept more often."""
    generator = random.Random(seed)
    truth = {"common": 90, "rare": 6}
    order = [kind for kind, count in truth.items() for _ in range(count)]
    generator.shuffle(order)
    sums: dict[str, float] = dict.fromkeys(truth, 0.0)
    kept: Counter[str] = Counter()
    draws = 600
    for _ in range(draws):
        sample: Sample[str] = Sample(8, lambda: 1.0 - generator.random())
        for kind in order:
            sample.offer(kind, lambda kind=kind: kind)
        for kind, weight in sample.take():
            sums[kind] += weight
            kept[kind] += 1
    for kind, count in truth.items():
        assert sums[kind] / draws == pytest.approx(count, rel=0.15)
    assert kept["rare"] / 6 > 2 * kept["common"] / 90


@given(st.integers(0, 500))
def test_a_days_windows_share_its_samples(per_day: int) -> None:
    """The windows of a day add up to the day's number, and none has much more than another."""
    quotas = [quota(per_day, window) for window in range(WINDOWS_PER_DAY)]
    assert sum(quotas) == per_day
    assert max(quotas) - min(quotas) <= 1


def test_a_report_of_every_class_still_fits() -> None:
    """A candidate with a thousand classes: the message names as many as it has room for."""
    tally = Tally(0)
    for number in range(1000):
        one = found([((0.0, 0.0, 9.0, 9.0), f"a-class-with-a-rather-long-name-{number}")])
        none = found([])
        tally.add(one, none, pair(one, none), ({"inference": 10.0 + number}, {"inference": 1.0}))
        tally.add(none, one, pair(none, one), ({"inference": 10.0}, {"inference": 1.0 + number}))
    digest = "sha256:" + "a" * 64
    report = tally.report(Names("r", "slot", "door", digest, digest), 60_000)
    assert report.frames == report.differing == 2000
    assert len(report.objects) == MAX_CLASSES
    assert len(codec.encode(report)) < stream("shadow.v1").max_bytes
