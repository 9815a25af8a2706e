"""Every page while the store fails, at every width, light and dark: in words, with a way to try again."""

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from keytrail.store.tables import BATCHES, RAW, ROLLUPS
from tests.browser.conftest import NEVER_EMPTY, PAGES, Open, Site, Tab
from tests.browser.looks import looked_at, violations


@contextlib.contextmanager
def damaged(site: Site) -> Iterator[None]:
    """A store that has lost the tables that answer about a day, as on a broken disk: the engine itself fails."""
    lost = [RAW, BATCHES, *(one.table for one in ROLLUPS if one.table.endswith("_15m"))]
    command = site.product.parts.engine.command
    for table in lost:
        command(f"RENAME TABLE {table} TO {table}_lost")
    try:
        yield
    finally:
        for table in lost:
            command(f"RENAME TABLE {table}_lost TO {table}")


@pytest.mark.parametrize("name", [name for name in PAGES if name not in NEVER_EMPTY])
def test_page_in_error(site: Site, paths: dict[str, str], tab: Tab, name: str) -> None:
    with damaged(site):
        seen = tab(paths[name])
        seen.settled()
        # In words, with the request's id.
        failed = seen.page.locator(".panel:has(.failed)")
        expect(failed.first).to_contain_text("The store could not answer this.")
        expect(failed.first.locator("small")).to_contain_text("request ")
        looked_at(seen, f"{name}-error", ".panel:has(.failed)")
    # Trying again is a click, and it is this panel that is asked for.
    before, panel = failed.count(), failed.first.get_attribute("id")
    failed.first.get_by_role("link", name="Try again").click()
    expect(seen.page.locator(f"#{panel} .failed")).to_have_count(0)
    expect(failed).to_have_count(before - 1)


def test_unknown_page_helps(opened: Open) -> None:
    seen = opened("/nothing-here")
    assert "There is no such page" in seen.page.inner_text("h1")
    assert seen.page.get_by_role("link", name="Overview").is_visible()
    assert violations(seen) == []


def test_an_address_that_makes_no_sense(opened: Open) -> None:
    seen = opened("/?range=forever")
    assert "range 'forever' is not one of" in seen.page.inner_text("main")
    assert "request " in seen.page.inner_text("main")
