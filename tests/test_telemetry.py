import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from keytrail.telemetry import LogFormat, set_up_logging


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers = list(logging.getLogger().handlers)
    yield
    logging.getLogger().handlers = handlers
    structlog.reset_defaults()


def logged(form: LogFormat, monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False) -> str:
    err = io.StringIO()
    monkeypatch.setattr(err, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stderr", err)
    set_up_logging(form)
    log = structlog.get_logger("keytrail")
    log.debug("too little")
    log.info("ready", address="here")
    logging.getLogger("a.library").warning("look %s", "here")
    logging.getLogger("a.library").info("too little")
    try:
        _fail("a-secret-value")
    except ValueError:
        log.exception("failed")
    return err.getvalue()


def _fail(secret: str) -> Any:
    raise ValueError(len(secret))


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.loads(line) for line in logged("auto", monkeypatch).splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("ready", "info"),
        ("look here", "warning"),
        ("failed", "error"),
    ]
    assert lines[0]["address"] == "here"
    assert lines[0]["timestamp"].endswith("Z")
    assert lines[1]["logger"] == "a.library"
    assert "ValueError: 14" in lines[2]["exception"]


@pytest.mark.parametrize("form", ["auto", "text"])
def test_text(form: LogFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    text = logged(form, monkeypatch, terminal=form == "auto")
    assert "ready" in text
    assert "look here" in text
    assert "too little" not in text
    assert not text.startswith("{")


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_shows_no_variables(form: LogFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    text = logged(form, monkeypatch)
    assert "ValueError" in text
    # As a line of code, but not as the value of an argument.
    assert text.count("a-secret-value") <= 1
    assert "secret = " not in text
