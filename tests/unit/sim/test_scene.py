"""The rendered street and its truth."""

import numpy as np

from vedette.sim.scene import Scene, covered


def test_people_stand_where_the_truth_says() -> None:
    """Pictures differ from the empty street inside the boxes and nowhere else."""
    scene = Scene((320, 180), people=5)
    empty = Scene((320, 180), people=0)
    seen = 0
    for t_s in (4.0, 8.0, 12.0, 16.0):
        boxes = [actor.xyxy for actor in scene.truth(t_s)]
        changed = (np.abs(scene.picture(t_s).astype(int) - empty.picture(t_s)) > 20).any(axis=2)
        inside = np.zeros_like(changed)
        for x1, y1, x2, y2 in boxes:
            grown = inside[max(0, int(y1) - 4) : int(y2) + 5, max(0, int(x1) - 16) : int(x2) + 17]
            grown[:] = True
            seen += 1
        assert not changed[~inside].any()
        assert changed.any() == bool(boxes)
    assert seen > 3


def test_the_same_moment_is_the_same_picture() -> None:
    """Pictures and truth are functions of time alone."""
    one, other = Scene(seed=3), Scene(seed=3)
    assert np.array_equal(one.picture(5.0), other.picture(5.0))
    assert one.truth(5.0) == other.truth(5.0 + other.period_s)


def test_a_covered_lens_is_dark_uniform_and_alive() -> None:
    """Little light, little structure, but noise: not the same picture twice."""
    first, second = covered((320, 180), 1.0), covered((320, 180), 1.1)
    assert first.mean() < 40
    assert first.std() < 8
    assert not np.array_equal(first, second)
