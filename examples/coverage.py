"""Print the last day's coverage of every camera, worst first, through central's API.

    VEDETTE_TOKEN=... python examples/coverage.py https://vedette.example.com

Make the token on the console's account page. Needs only Python.
"""

import json
import os
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

Ask = Callable[[str], Any]


def asker(base: str, token: str) -> Ask:
    """Return what asks central for a path and gives its JSON."""

    def ask(path: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(base.rstrip("/") + path, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)

    return ask


def cameras(ask: Ask) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield `site/device/camera` and its coverage of the last 24 hours."""
    for site in ask("/v1/fleet")["sites"]:
        for device in site["devices"]:
            for camera in device["cameras"]:
                names = site["site"], device["device"], camera["camera"]
                place = "/v1/sites/{}/devices/{}/cameras/{}/coverage"
                path = place.format(*(urllib.parse.quote(name) for name in names))
                yield "/".join(names), ask(path)["coverage"]


def text(coverage: dict[str, Any]) -> str:
    """Return the observed share and what took the rest; no data is not zero."""
    if coverage["fraction"] is None:
        return "no data"
    lost = sorted(coverage["causes"].items(), key=lambda item: -item[1])
    causes = ", ".join(f"{cause} {seconds / 60:.1f} min" for cause, seconds in lost)
    return f"{coverage['fraction']:7.2%}  {causes}".rstrip()


def main() -> None:
    """Print one line per camera."""
    ask = asker(sys.argv[1], os.environ["VEDETTE_TOKEN"])
    worst_first = sorted(cameras(ask), key=lambda row: row[1]["fraction"] or -1.0)
    for name, coverage in worst_first:
        print(f"{name:32} {text(coverage)}")


if __name__ == "__main__":
    main()
