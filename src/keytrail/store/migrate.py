"""Bring a store to the schema of this version: numbered SQL files, each run once, in order.

A released file is never changed. A file that was run halfway (the process was killed) is run again from its
first statement that has no effect yet: every statement makes or drops one thing, so it can be asked whether it is
there. What new rollups hold of the records that are there already is made after the last file, as the code knows the
tables as they are then (`fill.py`). On servers the statements are laid over the cluster (`layout.py`), and of several
processes that start at once one migrates.
"""

import re
from importlib import resources
from typing import Final

from keytrail.errors import SchemaError, StoreError
from keytrail.store.client import Engine
from keytrail.store.fill import FILLS
from keytrail.store.raw_rows import find_cold
from keytrail.store.turns import Turns

_TABLE: Final = """CREATE TABLE IF NOT EXISTS migrations (
    version UInt32,
    name String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = MergeTree ORDER BY version"""


def migrations() -> list[tuple[int, str, list[str]]]:
    """Every migration: its number, its name and its statements."""
    found = []
    for file in resources.files("keytrail.store").joinpath("sql").iterdir():
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name)
        if match:
            found.append((int(match[1]), match[2], _statements(file.read_text(encoding="utf-8"))))
    return sorted(found)


def _statements(text: str) -> list[str]:
    without_comments = re.sub(r"^--.*$", "", text, flags=re.MULTILINE)
    return [statement.strip() for statement in without_comments.split(";\n") if statement.strip(" \n;")]


def migrate(engine: Engine) -> list[str]:
    """Apply what is missing.

    Returns:
        The names of the migrations that were applied.

    Raises:
        SchemaError: The store was made by a newer version, or a statement failed; the message names it.
        NoLongerKept: Something is to be made of cold days, and the settings do not say where these are.
    """
    for statement in engine.layout.over(_TABLE):
        engine.command(statement)
    known = migrations()
    if {number for number, _, _ in known} == _applied(engine):
        return []
    with Turns(engine).hold():
        return _apply(engine, known, _applied(engine))


def _applied(engine: Engine) -> set[int]:
    return {int(version) for (version,) in engine.query("SELECT version FROM migrations").rows}


def _apply(engine: Engine, known: list[tuple[int, str, list[str]]], applied: set[int]) -> list[str]:
    newer = applied - {number for number, _, _ in known}
    if newer:
        raise SchemaError(f"the store has migration {max(newer)}, which this version does not know: use a newer one")
    missing = [one for one in known if one[0] not in applied]
    for number, name, statements in missing:
        for statement in statements:
            try:
                for each in engine.layout.over(statement):
                    engine.command(each)
            except StoreError as error:
                raise SchemaError(f"migration {number:04} {name}: {error}") from error
        if number not in FILLS:
            _note(engine, number, name)
    # Cold days are a part of what new rollups are made of.
    find_cold(engine)
    for number, name, _ in missing:
        if number in FILLS:
            FILLS[number](engine)
            _note(engine, number, name)
    return [f"{number:04} {name}" for number, name, _ in missing]


def _note(engine: Engine, number: int, name: str) -> None:
    engine.command(
        "INSERT INTO migrations (version, name) VALUES ({version:UInt32}, {name:String})",
        {"version": number, "name": name},
    )
