"""One long thing at a time, apart from whoever watches what runs.

Downloading takes hours and proving a model half a minute; what was just activated is looked at each
second. So the one who decides never waits for the one who works.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from vedette.errors import VedetteError

Result = object


class Work(Protocol):
    """Does one thing, named, and says what came of it."""

    def begin(self, name: str, what: Callable[[], Result]) -> None:
        """Begin, where nothing else is being done."""
        ...

    def busy(self) -> str:
        """Return the name of what is being done, or waits to be taken; empty: nothing."""
        ...

    def take(self) -> tuple[str, Result] | None:
        """Return, once, what came of it: its value, or the error that it ended with."""
        ...


class Inline:
    """Does it at once: for tests, and for whoever has a thread of their own."""

    def __init__(self) -> None:
        self._done: tuple[str, Result] | None = None

    def begin(self, name: str, what: Callable[[], Result]) -> None:
        """Do it."""
        self._done = name, outcome(what)

    def busy(self) -> str:
        """Return what waits to be taken."""
        return self._done[0] if self._done else ""

    def take(self) -> tuple[str, Result] | None:
        """Return it once."""
        done, self._done = self._done, None
        return done


class Beside:
    """Does it in a thread that nobody waits for at the end: all of it can be cut off anywhere."""

    def __init__(self, finished: Callable[[], None]) -> None:
        """Call `finished`, in that thread, when there is something to take."""
        self._finished = finished
        self._lock = threading.Lock()
        self._name = ""
        self._done: tuple[str, Result] | None = None

    def begin(self, name: str, what: Callable[[], Result]) -> None:
        """Begin; one after another."""
        with self._lock:
            assert not self._name
            self._name = name
        threading.Thread(
            target=self._do, args=(name, what), name="updates-work", daemon=True
        ).start()

    def busy(self) -> str:
        """Return what is being done."""
        with self._lock:
            return self._name

    def take(self) -> tuple[str, Result] | None:
        """Return it once; then the next may begin."""
        with self._lock:
            done, self._done = self._done, None
            if done is not None:
                self._name = ""
            return done

    def _do(self, name: str, what: Callable[[], Result]) -> None:
        result = outcome(what)
        with self._lock:
            self._done = name, result
        self._finished()


def outcome(what: Callable[[], Result]) -> Result:
    """Return what it returns, or the error that it ended with."""
    try:
        return what()
    except (VedetteError, OSError) as error:
        return error
