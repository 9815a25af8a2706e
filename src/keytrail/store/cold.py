"""Where days of raw rows stand as Parquet files, out of the engine's own tables, which still reads them.

A file never changes once it is in place, and its name never comes again: what changes a day writes another file.
"""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from keytrail.errors import NoLongerKept, StoreError, StoreFull
from keytrail.store.tables import column_types

Bind = Callable[[Any, str], str]
"""Binds a value of a ClickHouse type to a statement, and gives the placeholder for it."""

STRUCTURE: Final = ", ".join(f"{column} {kind}" for column, kind in column_types().items())
"""The columns of a file: those of the raw table. The engine gives those that an older file lacks their defaults."""

PART: Final = ".part"
"""Ending of a file that is not whole yet."""

UNSET: Final = "this needs single records that are in cold storage, and store.cold does not say where that is"

_HELD: Final = "held"
_PIECE: Final = 1 << 20


class Cold(Protocol):
    """A place for files."""

    def table(self, files: Sequence[str], bind: Bind) -> str:
        """What follows FROM to read some files; where they are is bound, so that no statement shows it."""

    def working(self, name: str) -> Path:
        """An empty file, readable only by its owner, to be filled by the engine and then put in place."""

    def put(self, name: str) -> tuple[int, str]:
        """Put the working file in place under its name, safe against a loss of power; its bytes and SHA-256."""

    def sizes(self) -> dict[str, int]:
        """The files in place and those under work, with their bytes."""

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""

    def sha256(self, name: str) -> str:
        """SHA-256 of a file, hex."""

    def on_disk_of(self, directory: Path) -> bool:
        """Whether it takes room from the same disk as a folder."""


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Tell faults of files of this machine as the store's.

    Args:
        path: What is named where a fault does not name its file.

    Raises:
        StoreFull: There is no room on the disk.
        StoreError: Any other fault.
    """
    try:
        yield
    except OSError as error:
        text = f"store.cold: {error.filename or path}: {error.strerror or error}"
        raise (StoreFull if error.errno == errno.ENOSPC else StoreError)(text) from error


class Folder:
    """A folder of this machine.

    Args:
        path: The folder; made if missing, readable only by its owner.

    Raises:
        StoreError: It can't be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        with explained(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def table(self, files: Sequence[str], bind: Bind) -> str:
        """What follows FROM to read some files."""
        pattern = files[0] if len(files) == 1 else f"{{{','.join(files)}}}"
        return f"file({bind(str(self.path / pattern), 'String')}, 'Parquet', {bind(STRUCTURE, 'String')})"

    def working(self, name: str) -> Path:
        """An empty file to be filled."""
        path = self.path / f"{name}{PART}"
        with explained(self.path):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        return path

    def put(self, name: str) -> tuple[int, str]:
        """Put the working file in place; its bytes and SHA-256."""
        path = self.path / f"{name}{PART}"
        with explained(self.path):
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.rename(self.path / name)
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            return (self.path / name).stat().st_size, self.sha256(name)

    def sizes(self) -> dict[str, int]:
        """The files in place and those under work, with their bytes."""
        with explained(self.path):
            return {one.name: one.stat().st_size for one in self.path.iterdir() if one.is_file()}

    def remove(self, name: str) -> None:
        """Remove a file."""
        with explained(self.path):
            (self.path / name).unlink(missing_ok=True)

    def sha256(self, name: str) -> str:
        """SHA-256 of a file, hex."""
        digest = hashlib.sha256()
        with explained(self.path), (self.path / name).open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
        return digest.hexdigest()

    def hold(self, names: Sequence[str]) -> list[Path]:
        """Hard links to files, which stay when these are removed; until `let_go`, or until others are held."""
        self.let_go()
        with explained(self.path):
            held = self.path / _HELD
            held.mkdir(mode=0o700)
            for name in names:
                os.link(self.path / name, held / name)
            return [held / name for name in names]

    def let_go(self) -> None:
        """Remove what is held."""
        shutil.rmtree(self.path / _HELD, ignore_errors=True)

    def on_disk_of(self, directory: Path) -> bool:
        """Whether it takes room from the same disk as a folder."""
        return self.path.stat().st_dev == directory.stat().st_dev


class Nowhere:
    """A store that has cold days, and `store.cold` does not say where."""

    def table(self, files: Sequence[str], bind: Bind) -> str:
        """Refuses: nobody may get a part for the whole."""
        raise NoLongerKept(UNSET)

    def working(self, name: str) -> Path:
        """Refuses."""
        raise StoreError(UNSET)

    def put(self, name: str) -> tuple[int, str]:
        """Refuses."""
        raise StoreError(UNSET)

    def sizes(self) -> dict[str, int]:
        """Nothing that can be seen."""
        return {}

    def remove(self, name: str) -> None:
        """Refuses."""
        raise StoreError(UNSET)

    def sha256(self, name: str) -> str:
        """Refuses."""
        raise StoreError(UNSET)

    def on_disk_of(self, directory: Path) -> bool:
        """Not known to do so."""
        return False
