"""The form of a new channel asks for what its kind needs, and for nothing else; without script."""

import pattern_site
import pytest
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.browser

ASKED = {
    "webhook": ("Secret (empty: one is made)",),
    "mail": ("From", "To, where nobody is named", "User name", "Password (never shown again)"),
    "mqtt": ("User name", "Password (never shown again)", "tell Home Assistant what there is"),
    "apprise": (),
    "s3": ("Id of the access key", "Its secret (never shown again)", "Region"),
}


def test_each_kind_of_channel_is_asked_for_its_own_parts_alone(browser: Browser) -> None:
    """Choosing a kind shows its fields and one sentence on how its address is written."""
    context = browser.new_context(java_script_enabled=False)
    context.route("**/*", pattern_site.answer)
    page = context.new_page()
    page.goto(f"{pattern_site.ORIGIN}/-/patterns/channels")
    form = page.locator("form[action='/channels']")
    for kind, labels in ASKED.items():
        form.get_by_label("Kind").select_option(kind)
        expect(form.locator("label:visible")).to_have_count(3 + len(labels))
        for label in labels:
            role = "checkbox" if label.startswith("tell") else "textbox"
            expect(form.get_by_role(role, name=label, exact=True)).to_be_visible()
        expect(form.locator("p.note-line:visible")).to_have_count(1)
    context.close()
