"""Every page without a record, at every width, light and dark: it says what there is none of, and what to do next."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NEVER_EMPTY, NEWCOMER, NOBODY, PAGES, Site, Tab
from tests.browser.looks import looked_at
from tests.oracle.records import SECOND, Record, to_json


@pytest.mark.parametrize("name", [name for name in PAGES if name not in NEVER_EMPTY])
def test_page_without_records_in_its_range(paths: dict[str, str], tab: Tab, name: str) -> None:
    path = paths[name]
    if name == "pipeline":
        seen = tab(path, token=NOBODY)
    else:
        seen = tab(f"{path}{'&' if '?' in path else '?'}from=2020-02-01&to=2020-02-02")
    seen.settled()
    # It says what there is none of, and what to do next.
    assert seen.page.locator(".empty").count() >= 1
    looked_at(seen, f"{name}-empty", ".panel:has(.empty)")


def test_before_the_first_record(site: Site, tab: Tab) -> None:
    seen = tab("/keys", token=NEWCOMER)
    steps = seen.page.locator("#first-steps")
    # A token of an organisation that has no records, while others have, is what one begins with now and then.
    expect(steps).to_contain_text("None of the organisation a new organisation")
    expect(steps).to_contain_text("Nothing is collected here")
    assert seen.page.locator(".panel").count() == 0
    looked_at(seen, "first-steps", "#first-steps")
    # The first one is shown as it comes.
    first = Record(
        timestamp=int(site.end.timestamp()) * SECOND,
        org_id="a new organisation",
        api_id="an api",
        api_key="its first key",
        method="GET",
        path="/first",
        raw_path="/first",
        response_code=200,
    )
    site.product.put_lines([to_json(first).encode()])
    seen.page.keyboard.press("r")
    expect(seen.page.locator("#p-table tbody tr")).to_have_count(1)
