"""A thread that ended by itself is started again, after a pause, and it is said."""

import threading

from vedette.clock import ManualClock
from vedette.edge.kept import PAUSE_S, KeptThread


def test_a_thread_that_ended_goes_on_after_a_pause_until_it_is_to_stop():
    """Not at once, which would be a loop; not after the end, which would be a ghost."""
    clock, stop = ManualClock(), threading.Event()
    lives: list[int] = []

    def work(stop_it):
        lives.append(1)
        if len(lives) == 2:
            stop_it.wait(30)

    kept = KeptThread("updates", work, stop, clock)
    kept.tend()
    assert kept.threads == [], "nobody has started it"
    kept.start()
    kept.threads[0].join(30)
    kept.tend()
    assert (len(lives), kept.threads) == (1, [])
    assert kept.problems == ["the updates ended by themselves once; see the log"]
    clock.advance(PAUSE_S)
    kept.tend()
    (second,) = kept.threads
    kept.tend()
    assert kept.threads == [second], "one that lives is left alone"
    stop.set()
    second.join(30)
    clock.advance(PAUSE_S)
    kept.tend()
    assert (len(lives), kept.ends) == (2, 1)
