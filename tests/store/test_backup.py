"""A copy of a store that is written to, and a data directory from it: whole, agreeing, or not at all."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keytrail.errors import Conflict, FileError, KeytrailError, StoreError
from keytrail.store.backup import restore
from keytrail.store.consumers import Link, replace_links
from keytrail.store.tables import RAW, ROLLUPS
from tests.cli.captures import ORG, lines_of
from tests.product import Product, product

LINES = lines_of()
TABLES = [rollup.table for rollup in ROLLUPS]


def put(store: Product, batch: str, lines: list[bytes]) -> tuple[int, int]:
    taken = store.parts.intake.take(batch, 0, lines, following="", attempt=1, origin="a file", org=None)
    return taken.stored, taken.duplicate


def counts(store: Product) -> dict[str, int]:
    rows = {table: store.query(f"SELECT sum(records) FROM {table}")[0][0] for table in TABLES}
    rows[RAW] = store.query(f"SELECT count() FROM {RAW}")[0][0]
    rows["clients"] = store.query(f"SELECT countIf(oauth_id != '') FROM {RAW}")[0][0]
    return rows


@dataclass(frozen=True)
class Copied:
    content: bytes
    before: dict[str, int]
    folder: Path

    def members(self) -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(self.content)) as tar:
            return {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr] # all are files

    def cut_within(self, name: str) -> bytes:
        """The copy up to the middle of a member."""
        with tarfile.open(fileobj=io.BytesIO(self.content)) as tar:
            member = tar.getmember(name)
        return self.content[: member.offset_data + member.size // 2]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copied]:
    """A copy, and what was in the store at its moment; records, merges and a new directory came while it was read."""
    folder = tmp_path_factory.mktemp("copied")
    with product(folder / "data") as store:
        assert put(store, "first", LINES[:300]) == (300, 0)
        replace_links(store.parts.engine, ORG, [Link(ORG, "shop", "Shop", "key", "7f3c3ca87376cabe")])
        before = counts(store)
        pieces = store.parts.upkeep.backup()
        content = next(pieces)
        with pytest.raises(Conflict):
            next(store.parts.upkeep.backup())
        assert put(store, "second", LINES[300:500]) == (200, 0)
        replace_links(store.parts.engine, ORG, [])
        for table in (RAW, *TABLES):
            store.parts.engine.command(f"OPTIMIZE TABLE {table} FINAL")
        content += b"".join(pieces)
        assert not list((folder / "data/engine/shadow").glob("keytrail*"))
        # One that is broken off leaves nothing either, and does not keep the next one out.
        broken = store.parts.upkeep.backup()
        next(broken)
        broken.close()
        assert not list((folder / "data/engine/shadow").glob("keytrail*"))
        assert sum(map(len, store.parts.upkeep.backup())) > len(content) // 2
        yield Copied(content, before, folder)


def test_is_of_one_moment_and_goes_on_from_there(copied: Copied, tmp_path: Path) -> None:
    # The engine allows one folder at a time in a process, and the module's is open.
    source = tmp_path / "copy.tar"
    source.write_bytes(copied.content)
    made = restore(source, tmp_path / "data")
    assert (made.records, made.files) == (300, len(copied.members()) - 1)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["engine", "lock"]
    script = tmp_path / "look.py"
    script.write_text(LOOK, encoding="utf-8")
    assert run_apart(script, tmp_path / "data") == {
        "counts": copied.before,
        "links": ["shop"],
        "again": [0, 300],
        "late": [200, 0],
        "differing": [],
        "rollups": [],
    }


LOOK = """
import json, sys
from pathlib import Path
from tests.product import product
from tests.cli.captures import ORG
from keytrail.store.consumers import read_links
from tests.store.test_backup import LINES, counts, put
with product(Path(sys.argv[1])) as store:
    found = {"counts": counts(store), "links": [link.consumer for link in read_links(store.parts.engine, ORG)]}
    found["again"] = put(store, "first", LINES[:300])
    found["late"] = put(store, "second", LINES[300:500])
    verified = store.parts.upkeep.verify()
    print(json.dumps({**found, "differing": verified.differing, "rollups": verified.rollups}))
"""


def run_apart(script: Path, *arguments: object) -> Any:
    """What a script prints that has a process of its own."""
    import subprocess
    import sys

    ran = subprocess.run(
        [sys.executable, "-W", "error", script, *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def packed(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return target.getvalue()


def linked() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        about = tarfile.TarInfo("engine/link")
        about.type, about.linkname = tarfile.SYMTYPE, "elsewhere"
        tar.addfile(about)
    return target.getvalue()


def test_what_is_not_whole_is_not_restored(copied: Copied, tmp_path: Path) -> None:
    members = copied.members()
    data = next(name for name in members if name.endswith("/data.bin"))
    manifest = json.loads(members["manifest.json"])
    damaged = {**members, data: members[data][:-1] + bytes([members[data][-1] ^ 1])}
    cases = {
        "no backup, or it is damaged": b"no tar at all, but long enough to be read as one" * 100,
        "unexpected end": copied.cut_within(data),
        "it ends before its list": packed({name: members[name] for name in members if name != "manifest.json"}),
        f"{data} is damaged": packed(damaged),
        f"{data} is missing": packed({name: members[name] for name in members if name != data}),
        "engine/more is not listed": packed({"engine/more": b"", **members}),
        "'engine/../../out' does not belong": packed({"engine/../../out": b"", **members}),
        "'/etc/out' does not belong": packed({"/etc/out": b"", **members}),
        "'engine/link' is no file": linked(),
        "is of the form 9": packed({**members, "manifest.json": json.dumps({**manifest, "form": 9}).encode()}),
    }
    for said, content in cases.items():
        source, directory = tmp_path / "copy.tar", tmp_path / "data"
        source.write_bytes(content)
        with pytest.raises(FileError, match=r"copy\.tar|data directory") as caught:
            restore(source, directory)
        assert said in str(caught.value), said
        assert [path.name for path in directory.iterdir()] == ["lock"], said
    assert not (tmp_path / "out").exists()
    with pytest.raises(KeytrailError, match=r"nowhere\.tar: No such file"):
        restore(tmp_path / "nowhere.tar", tmp_path / "data")


def test_only_into_an_empty_directory(copied: Copied, tmp_path: Path) -> None:
    source = tmp_path / "copy.tar"
    source.write_bytes(copied.content)
    with pytest.raises(StoreError, match="held by process"):
        restore(source, copied.folder / "data")
    (tmp_path / "data/engine").mkdir(parents=True)
    with pytest.raises(StoreError, match="holds a store already"):
        restore(source, tmp_path / "data")
