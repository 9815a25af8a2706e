"""Cold days in a bucket of S3 or of what speaks like it.

The engine reads objects by itself, only the columns and row groups that it needs. It writes a file of this machine,
which is then put into the bucket: an object is there whole or not at all.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pyarrow import fs

from keytrail.config import Store
from keytrail.errors import ConfigError, StoreError
from keytrail.store.cold import PART, STRUCTURE, Bind, Cold, Folder, explained

ENGINE_SETTINGS: Final = {"s3_retry_attempts": 3}
"""Of each statement: a bucket that is away is said to be so, not tried five hundred times."""

_PIECE: Final = 1 << 22


def open_cold(settings: Store) -> Cold | None:
    """The place of cold days that settings name; None if they name none.

    Raises:
        ConfigError: A bucket without a key for it.
        StoreError: The folder can't be made.
    """
    if settings.directory is None or not settings.cold:
        return None
    if folder := settings.cold_folder:
        return Folder(folder)
    name, _, prefix = settings.cold.removeprefix("s3://").partition("/")
    key_id, secret = settings.cold_key_id, settings.cold_secret.get_secret_value()
    if not key_id:
        key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID", ""), secret or os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    if not key_id or not secret:
        raise ConfigError("settings: store.cold: a bucket needs store.cold_key_id and store.cold_secret")
    place = Place(
        settings.cold_endpoint or f"https://s3.{settings.cold_region}.amazonaws.com",
        settings.cold_region,
        f"{name}/{prefix}".rstrip("/"),
        key_id,
        secret,
    )
    return Bucket(place, settings.directory / "tmp", connect=settings.connect_timeout, answer=settings.timeout)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which service.

    Attributes:
        endpoint: Address of the service.
        region: Its region.
        path: Bucket and prefix.
        key_id: Access key.
        secret: Its secret.
    """

    endpoint: str
    region: str
    path: str
    key_id: str = field(repr=False)
    secret: str = field(repr=False)


class Bucket:
    """A prefix in a bucket.

    Args:
        place: Which.
        work: Folder for files that are being written; emptied by others when the process before was killed.
        connect: Seconds to reach the service.
        answer: Seconds that it may be silent.
    """

    def __init__(self, place: Place, work: Path, *, connect: float, answer: float) -> None:
        self._place = place
        self._work = work
        secure, host = place.endpoint.startswith("https:"), place.endpoint.partition("://")[2]
        self._service = fs.S3FileSystem(
            access_key=place.key_id,
            secret_key=place.secret,
            region=place.region,
            scheme="https" if secure else "http",
            endpoint_override=host,
            connect_timeout=connect,
            request_timeout=answer,
        )

    def table(self, files: Sequence[str], bind: Bind) -> str:
        """What follows FROM to read some objects."""
        pattern = files[0] if len(files) == 1 else f"{{{','.join(files)}}}"
        place = self._place
        bound = (f"{place.endpoint}/{place.path}/{pattern}", place.key_id, place.secret)
        url, key_id, secret = (bind(value, "String") for value in bound)
        return f"s3({url}, {key_id}, {secret}, 'Parquet', {bind(STRUCTURE, 'String')})"

    def working(self, name: str) -> Path:
        """An empty file of this machine to be filled."""
        path = self._work / f"{name}{PART}"
        with explained(path):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        return path

    def put(self, name: str) -> tuple[int, str]:
        """Put the working file into the bucket; its bytes and SHA-256."""
        path, digest, size = self._work / f"{name}{PART}", hashlib.sha256(), 0
        try:
            with (
                self._explained(),
                path.open("rb") as file,
                self._service.open_output_stream(self._path(name)) as out,
            ):
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
                    out.write(piece)
        finally:
            path.unlink(missing_ok=True)
        return size, digest.hexdigest()

    def sizes(self) -> dict[str, int]:
        """The objects, with their bytes."""
        with self._explained():
            found = self._service.get_file_info(fs.FileSelector(self._place.path, allow_not_found=True))
        return {one.base_name: one.size for one in found if one.type == fs.FileType.File}

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._explained(), contextlib.suppress(FileNotFoundError):
            self._service.delete_file(self._path(name))

    def sha256(self, name: str) -> str:
        """SHA-256 of an object, hex."""
        digest = hashlib.sha256()
        with self._explained(), self._service.open_input_stream(self._path(name)) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
        return digest.hexdigest()

    def on_disk_of(self, directory: Path) -> bool:
        """It takes no room of this machine."""
        return False

    def _path(self, name: str) -> str:
        return f"{self._place.path}/{name}"

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"store.cold: s3://{self._place.path} at {self._place.endpoint}: {error}") from error
