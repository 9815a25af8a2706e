"""Every endpoint with numbers, over any records in any zone, gives what a plain Python sum over them gives."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.oracle.strategies import APIS, KEYS, Question
from tests.oracle.sums import api_rows, client_rows, endpoint_rows, error_code_rows, key_rows, pages, series_rows
from tests.query.shops import PAGE_SIZE, Arrival, Shops
from tests.query.test_sums import BUSY_CLIENT, BUSY_KEY, RESOLUTIONS, dates, filters, orders, stocked, where

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

OF_KEY, OF_CLIENT = f"/api/activity/keys/{quote(BUSY_KEY)}", f"/api/activity/oauthid/{quote(BUSY_CLIENT)}"
TOGETHER = f"/api/activity/keys/aggregate/{','.join(map(quote, KEYS[:2]))},"

LISTS: dict[str, Callable[..., Any]] = {
    "/api/activity/keys": key_rows,
    "/api/activity/oauthid": client_rows,
    "/api/usage/apis": api_rows,
    "/api/errors/count": error_code_rows,
}
ENDPOINTS: dict[str, dict[str, Any]] = {OF_KEY: {"key": BUSY_KEY}, OF_CLIENT: {"oauth": BUSY_CLIENT}}
SERIES: dict[str, dict[str, Any]] = {
    "/api/usage": {},
    "/api/usage/apis": {},
    "/api/activity/keys": {},
    TOGETHER: {"keys": KEYS[:2]},
    **ENDPOINTS,
}


@settings(deadline=None, max_examples=7, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(stocked(), st.data())
def test_any_records(shops: Shops, case: tuple[Question, Arrival], data: st.DataObject) -> None:
    question, arrival = case
    shops.stock(arrival)
    days = f"{dates(question.start)}/{dates(question.end)}"
    picked, track_all = data.draw(filters()), data.draw(st.booleans())
    parameters = picked | {"tags": picked["tags"] and ",".join(picked["tags"])}
    by, sort = data.draw(orders())
    page = data.draw(st.integers(-1, 3))

    def check(path: str, rows: list[Any], **more: Any) -> None:
        answer, total = shops.ask(f"{path}/{days}", question.zone, track_all=track_all, p=page, **parameters, **more)
        expected, count = pages(rows, page, PAGE_SIZE)
        assert answer == {"data": expected, "pages": count}
        assert total == len(rows)

    for path, rows_of in LISTS.items():
        check(path, rows_of(question.records, by=by, sort=sort, **where(question, **picked)), by=by, sort=sort)
    api = data.draw(st.sampled_from(APIS))
    if picked["api_id"] in {None, api}:
        wanted = where(question, **picked | {"api_id": api})
        check(
            f"/api/usage/apis/{quote(api, safe='')}",
            api_rows(question.records, by=by, sort=sort, **wanted),
            by=by,
            sort=sort,
        )
    for path, whose in ENDPOINTS.items():
        wanted = where(question, track_all=track_all, **whose, **picked)
        check(path, endpoint_rows(question.records, api_names=True, by=by, sort=sort, **wanted), by=by, sort=sort)


@settings(deadline=None, max_examples=7, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(stocked(), st.data())
def test_any_series(shops: Shops, case: tuple[Question, Arrival], data: st.DataObject) -> None:
    """What is not of endpoints counts untracked paths too, however the setting is."""
    question, arrival = case
    shops.stock(arrival)
    days = f"{dates(question.start)}/{dates(question.end)}"
    picked, track_all = data.draw(filters()), data.draw(st.booleans())
    parameters = picked | {"tags": picked["tags"] and ",".join(picked["tags"])}

    def ask(path: str, res: str | None = None) -> Any:
        return shops.ask(f"{path}/{days}", question.zone, track_all=track_all, p=-1, res=res, **parameters)[0]

    failed = [record for record in question.records if record.response_code >= 400]
    for res in ("day", data.draw(st.sampled_from(RESOLUTIONS))):
        for path, whose in SERIES.items():
            answer = ask(path, res)
            expected = series_rows(question.records, res=res, **where(question, **whose, **picked))
            assert answer == {"data": expected, "pages": 0}, path
        answer = ask("/api/errors/count", res)
        assert answer["data"] == series_rows(failed, res=res, **where(question, **picked))
    for path in ("/api/usage", TOGETHER):
        assert ask(path) == ask(path, "day")
