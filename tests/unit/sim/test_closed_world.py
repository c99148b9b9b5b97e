"""The closed world: its detector finds every walker, and misbehaves exactly when asked to."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import BadModelOutput, RunFailed
from vedette.inference.model import Model
from vedette.sim.closed_world import (
    SIZE_PX,
    STRIDE,
    Quirk,
    Route,
    World,
    back_and_forth,
    detector,
    write_bundle,
)
from vedette.vision.picture import Picture


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[Quirk, Model]:
    """A model of every quirk."""
    folder: Path = tmp_path_factory.mktemp("models")
    return {
        quirk: Model.load(write_bundle(folder / f"walkers-{quirk}", quirk, work=2))
        for quirk in Quirk
    }


@given(x=st.floats(0.1, 0.9), y=st.floats(0.4, 1.0))
@settings(max_examples=40, deadline=None)
def test_a_walker_is_found_where_it_is(models: dict[Quirk, Model], x: float, y: float) -> None:
    """One detection above the threshold, within a cell of the truth, and no other."""
    world = World([Route(track=1, passes=((0.0, x, y), (9.0, x, y)))])
    found = models[Quirk.NONE].detect(Picture.from_bgr(world.picture(1.0))).detections
    assert len(found) == 1
    truth = np.clip(world.boxes(1.0)[1], 0, (*SIZE_PX, *SIZE_PX))
    assert np.abs(found.boxes_xyxy[0] - truth).max() <= STRIDE
    assert found.class_id[0] == 0


def test_an_empty_street_has_nobody(models: dict[Quirk, Model]) -> None:
    """The background raises no detection, blue patch or not."""
    for t_s in (1.0, 5.0):
        world = World([], hurt_s=[(4.0, 6.0)])
        assert len(models[Quirk.NONE].detect(Picture.from_bgr(world.picture(t_s))).detections) == 0


@pytest.mark.parametrize(
    ("quirk", "error"), [(Quirk.NAN, BadModelOutput), (Quirk.FAILS, RunFailed)]
)
def test_a_quirk_strikes_while_blue_is_shown(
    models: dict[Quirk, Model], quirk: Quirk, error: type[Exception]
) -> None:
    """Before and after the patch the answer is the healthy model's."""
    walk = back_and_forth(1, y=0.8, start_s=0.0, legs=2, leg_s=5.0)
    world = World([walk], hurt_s=[(4.0, 6.0)])
    for t_s in (3.9, 6.1):
        picture = Picture.from_bgr(world.picture(t_s))
        healthy = models[Quirk.NONE].detect(picture).detections
        assert np.array_equal(
            models[quirk].detect(picture).detections.boxes_xyxy, healthy.boxes_xyxy
        )
    hurt = Picture.from_bgr(world.picture(5.0))
    with pytest.raises(error) as caught:
        models[quirk].detect(hurt)
    assert type(caught.value) is error


def test_slow_does_the_same_only_later(models: dict[Quirk, Model]) -> None:
    """Useless work changes no answer."""
    world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=1, leg_s=5.0)])
    picture = Picture.from_bgr(world.picture(2.0))
    found = [models[quirk].detect(picture).detections for quirk in (Quirk.NONE, Quirk.SLOW)]
    assert np.allclose(found[0].boxes_xyxy, found[1].boxes_xyxy)


def test_walkers_come_and_go_on_time() -> None:
    """Before its first and after its last point a walker is not in the picture."""
    route = back_and_forth(3, y=0.8, start_s=1.0, legs=2, leg_s=2.0)
    world = World([route])
    assert world.boxes(0.9) == {}
    assert world.boxes(5.1) == {}
    assert route.foot(1.0) == (0.15, 0.8)
    assert route.foot(3.0) == pytest.approx((0.85, 0.8))
    assert route.foot(2.0) == pytest.approx((0.5, 0.8))


def test_the_network_is_the_same_every_time() -> None:
    """The same bytes, so the same digest, whoever makes the bundle."""
    assert detector() == detector()
