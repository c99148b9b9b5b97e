"""What axe-core finds on a page: `serious_findings(page)` is empty where a page is accessible.

axe-core (MPL-2.0) is used by tests alone: it is fetched as a pinned npm package into the cache
folder, like the console's libraries, and is neither committed nor part of the wheel. It is put into
the page by the test driver, so the page's own policy stays as it is.
"""

import os
from collections.abc import Sequence
from functools import cache
from typing import Final

import pytest
from playwright.sync_api import Page

from vedette import npm

VERSION: Final = "4.14.1"
INTEGRITY: Final = (
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASy"
    "FNNtuFooJpZe37OgudVGtQ=="
)
GRAVE: Final = ("serious", "critical")
OF_LOOKS: Final = (
    "color-contrast",
    "link-in-text-block",
    "scrollable-region-focusable",
    "aria-hidden-focus",
    "label",
    "link-name",
    "button-name",
)
"""Rules whose answer theme and width can change: what is hidden has neither name nor colour."""

_RUN: Final = """async ([grave, rules]) => {
  const found = await axe.run(document, {
    resultTypes: ["violations"], elementRef: false, preload: false,
    runOnly: rules.length ? {type: "rule", values: rules}
      : {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
  });
  return found.violations.filter((rule) => grave.includes(rule.impact)).flatMap((rule) =>
    rule.nodes.slice(0, 5).map((node) =>
      `${rule.impact} ${rule.id}: ${node.target.join(" ")}: ` +
      `${node.any.concat(node.all, node.none).map((check) => check.message).join("; ")} in ` +
      node.html.slice(0, 160)));
}"""


@cache
def _source() -> str:
    """Return axe-core's script; skips the test where it cannot be had, and fails it in CI."""
    kept = npm.cache_dir() / "axe-core" / VERSION
    try:
        files = npm.fetch("axe-core", VERSION, INTEGRITY, {"axe.min.js": "axe.min.js"}, kept)
    except npm.PackageUnavailable as error:
        reason = f"axe-core could not be fetched: {error}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return files["axe.min.js"].read_text(encoding="utf-8")


def serious_findings(page: Page, rules: Sequence[str] = ()) -> list[str]:
    """Return what axe-core finds serious or critical on the page as it is now, one line each.

    By all rules of WCAG 2.1 A and AA, or by the given ones alone.
    """
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(_source())
    return page.evaluate(_RUN, [list(GRAVE), list(rules)])
