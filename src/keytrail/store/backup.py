"""A copy of the embedded store while it runs, and a data directory made from one.

Under the writer's lock the engine freezes every table: hard links to its parts, which takes milliseconds and no room.
So raw rows, rollups, ledger and directory agree; the files of cold days are held the same way. The links are then read
without hurry, into a tar file whose last member lists every other one with its SHA-256: a copy without that member is
not whole.
"""

import contextlib
import hashlib
import json
import shutil
import tarfile
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from keytrail import __version__
from keytrail.errors import Conflict, FileError, StoreError
from keytrail.instants import text_of
from keytrail.store.client import DATABASE, EmbeddedEngine
from keytrail.store.cold import PART, Folder
from keytrail.store.ledger import Ledger
from keytrail.store.lock import DirectoryLock
from keytrail.store.raw_rows import cold_days
from keytrail.store.tables import BATCHES, RAW
from keytrail.store.writer import Writer

FORM: Final = 1
"""Number of the form of the file; another one is refused."""
MANIFEST: Final = "manifest.json"

_FROZEN: Final = "keytrail_backup"
_PIECE: Final = 1 << 20


class Backups:
    """Makes copies of a running store, one at a time.

    Args:
        engine: Its engine.
        writer: The way into it, which waits while the tables are frozen.
    """

    def __init__(self, engine: EmbeddedEngine, writer: Writer) -> None:
        self._engine = engine
        self._writer = writer
        self._root = engine.directory / "engine"
        self._one_at_a_time = threading.Lock()
        self._thaw()

    def make(self) -> Generator[bytes]:
        """The copy, piece by piece; it is of the moment when the first piece is asked for. Closing it breaks it off.

        Raises:
            Conflict: Another copy is being made.
            StoreError: The engine or the disk refuses.
        """
        if not self._one_at_a_time.acquire(blocking=False):
            raise Conflict("a backup is being made already")
        try:
            yield from self._make()
        finally:
            self._thaw()
            self._one_at_a_time.release()

    def _make(self) -> Iterator[bytes]:
        # What a copy that was broken off has left behind.
        self._thaw()
        with self._writer.paused():
            about = self._freeze()
            cold = self._cold.hold([one.file for one in cold_days(self._engine)]) if self._cold else []
            schema = {name: (self._root / name).read_bytes() for name in self._schema()}
        listed: dict[str, list[Any]] = {}
        for name, content in schema.items():
            yield from _member(f"engine/{name}", content, listed)
        frozen = self._root / "shadow" / _FROZEN
        for file in sorted(path for path in frozen.rglob("*") if path.is_file()):
            yield from _file_member(f"engine/{file.relative_to(frozen)}", file, listed)
        for file in cold:
            yield from _file_member(f"cold/{file.name}", file, listed)
        yield from _member(MANIFEST, json.dumps({**about, "files": listed}).encode(), {})
        yield b"\0" * (2 * tarfile.BLOCKSIZE)

    def _freeze(self) -> dict[str, Any]:
        tables = self._engine.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' "
            "ORDER BY name"
        )
        for (table,) in tables.rows:
            self._engine.command(f"ALTER TABLE `{table}` FREEZE WITH NAME '{_FROZEN}'")
        return {
            "form": FORM,
            "keytrail": __version__,
            "engine": self._engine.query("SELECT version()").rows[0][0],
            "store_id": Ledger(self._engine).store_id(),
            "made_at": text_of(datetime.now(UTC)),
            "migrations": [row[0] for row in self._engine.query("SELECT version FROM migrations ORDER BY 1").rows],
            "records": self._engine.query(f"SELECT count() FROM {RAW}").rows[0][0]
            + sum(one.rows for one in cold_days(self._engine)),
            "chunks": self._engine.query(f"SELECT count() FROM {BATCHES}").rows[0][0],
        }

    def _schema(self) -> list[str]:
        """The files that say which tables there are, within the engine's folder."""
        found = self._engine.query(
            "SELECT metadata_path FROM system.tables WHERE database = currentDatabase() ORDER BY 1"
        )
        return [f"metadata/{DATABASE}.sql", *(row[0] for row in found.rows)]

    def _thaw(self) -> None:
        shutil.rmtree(self._root / "shadow" / _FROZEN, ignore_errors=True)
        if self._cold:
            self._cold.let_go()

    @property
    def _cold(self) -> Folder | None:
        return self._engine.cold if isinstance(self._engine.cold, Folder) else None


def _member(name: str, content: bytes, listed: dict[str, list[Any]]) -> Iterator[bytes]:
    listed[name] = [len(content), hashlib.sha256(content).hexdigest()]
    yield _header(name, len(content)) + content + _padding(len(content))


def _file_member(name: str, file: Path, listed: dict[str, list[Any]]) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), file.stat().st_size
    yield _header(name, size)
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            digest.update(piece)
            yield piece
    yield _padding(size)
    listed[name] = [size, digest.hexdigest()]


def _header(name: str, size: int) -> bytes:
    about = tarfile.TarInfo(name)
    about.size, about.mode = size, 0o600
    return about.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return b"\0" * (-size % tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a copy was of.

    Attributes:
        made_at: When it was made, RFC 3339.
        keytrail: The version that made it.
        records: Its raw rows.
        files: Its files.
    """

    made_at: str
    keytrail: str
    records: int
    files: int = field(compare=False)


def restore(source: Path, directory: Path, cold: Path | None = None) -> Restored:
    """Fill an empty data directory from a copy; killed halfway, it is empty as before, but for files of cold days.

    Args:
        source: The copy.
        directory: The data directory; made if missing.
        cold: The folder of cold days (`store.cold`); made if missing. What it has already of the copy stays.

    Raises:
        FileError: The file is no copy, not whole, or damaged; names the part. Or it has cold days, and there is no
            folder for them, or other files of these names are in it.
        StoreBusy: A process holds the directory.
        StoreError: The directory holds a store already, or can't be written.
    """
    lock = DirectoryLock(directory)
    lock.acquire()
    try:
        target, unfinished = directory / "engine", directory / "restoring"
        if target.exists():
            raise StoreError(f"data directory {directory} holds a store already; restore into an empty one")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            with source.open("rb") as file, _explained(source):
                manifest = _unpack(source, file, unfinished)
            _put_cold(source, unfinished / "cold", cold, manifest["files"])
            (unfinished / "engine").rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"{error.filename or directory}: {error.strerror or error}") from error
    finally:
        lock.release()
    return Restored(manifest["made_at"], manifest["keytrail"], manifest["records"], len(manifest["files"]))


@contextlib.contextmanager
def _explained(source: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise FileError(f"{source} is no backup, or it is damaged: {error}") from error


def _unpack(source: Path, file: IO[bytes], folder: Path) -> dict[str, Any]:
    found: dict[str, list[Any]] = {}
    manifest: dict[str, Any] | None = None
    with tarfile.open(fileobj=file, mode="r|") as members:
        for member in members:
            content = members.extractfile(member) if member.isreg() else None
            if content is None:
                raise FileError(f"{source}: {member.name!r} is no file")
            if member.name == MANIFEST:
                manifest = json.loads(content.read())
            else:
                found[member.name] = _extract(content, _inside(folder, member.name))
    if manifest is None:
        raise FileError(f"{source} is not whole: it ends before its list of files")
    if manifest["form"] != FORM:
        raise FileError(f"{source} is of the form {manifest['form']}, which this version does not read")
    _compare(source, found, manifest["files"])
    return manifest


def _put_cold(source: Path, unpacked: Path, folder: Path | None, listed: dict[str, list[Any]]) -> None:
    files = sorted(unpacked.iterdir()) if unpacked.is_dir() else []
    if not files:
        return
    if folder is None:
        raise FileError(f"{source} has {len(files)} cold days, and store.cold does not say where they go")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in files:
        target = folder / file.name
        if target.exists():
            with target.open("rb") as known:
                if _digested(known) != listed[f"cold/{file.name}"]:
                    raise FileError(f"{target} is another file than that of {source}")
        else:
            # The folder may be on another disk.
            part = target.with_name(f"{target.name}{PART}")
            shutil.copyfile(file, part)
            part.chmod(0o600)
            part.rename(target)


def _digested(file: IO[bytes]) -> list[Any]:
    digest, size = hashlib.sha256(), 0
    while piece := file.read(_PIECE):
        digest.update(piece)
        size += len(piece)
    return [size, digest.hexdigest()]


def _inside(folder: Path, name: str) -> Path:
    parts = name.split("/")
    if parts[0] not in {"engine", "cold"} or ".." in parts or "" in parts:
        raise FileError(f"{name!r} does not belong into a data directory")
    return folder.joinpath(*parts)


def _extract(content: IO[bytes], path: Path) -> list[Any]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        while piece := content.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            file.write(piece)
    return [size, digest.hexdigest()]


def _compare(source: Path, found: dict[str, list[Any]], listed: dict[str, list[Any]]) -> None:
    differing: Iterable[str] = sorted(name for name in found | listed if found.get(name) != listed.get(name))
    for name in differing:
        what = "is missing" if name not in found else "is not listed" if name not in listed else "is damaged"
        raise FileError(f"{source}: {name} {what}")
