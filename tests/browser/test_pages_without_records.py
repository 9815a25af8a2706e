"""Every page without a record, at every width, light and dark: it says what there is none of, and what to do next."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NEVER_EMPTY, NOBODY, PAGES, Tab
from tests.browser.looks import looked_at


@pytest.mark.parametrize("name", [name for name in PAGES if name not in NEVER_EMPTY])
def test_page_without_records(paths: dict[str, str], tab: Tab, name: str) -> None:
    seen = tab(paths[name], token=NOBODY)
    seen.settled()
    # It says what there is none of, and what to do next.
    assert seen.page.locator(".empty").count() >= 1
    if name == "overview":
        expect(seen.page.locator(".empty").first).to_contain_text("keytrail import FILE")
    looked_at(seen, f"{name}-empty", ".panel:has(.empty)")
