"""The embedded engine: chDB in this process, set up so that what it holds does not grow with time.

What the engine would do by itself is made for a server of its own with many processors and much memory. Here it shares
a process, so caches have bounds, and merged parts go soon and one after the other.
"""

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import clickhouse_connect

from keytrail.config import Store
from keytrail.errors import StoreError
from keytrail.store.bucket import ENGINE_SETTINGS, open_cold
from keytrail.store.client.engine import DATABASE, Handles, engine_errors
from keytrail.store.lock import DirectoryLock

_CONFIGURATION: Final = """<clickhouse>
    <!-- What a statement has on disk, and what an insert comes from. -->
    <tmp_path>{temporary}/</tmp_path>
    <!-- Of itself it grows to 5 GiB. -->
    <mark_cache_size>134217728</mark_cache_size>
    <query_condition_cache_size>16777216</query_condition_cache_size>
    <!-- It looks 20 times a second how much memory there is. -->
    <memory_worker_period_ms>1000</memory_worker_period_ms>
    <!-- Storing and answering go before merging. Where the process may not set it (CAP_SYS_NICE), they share alike. -->
    <os_threads_nice_value_merge_mutate>{merging_niceness}</os_threads_nice_value_merge_mutate>
    <merge_tree>
        <!-- Parts that were merged stay for a power failure, until the system has written the merged one. After 8
             minutes, as by itself, there are a thousand, each with its index and columns in memory. -->
        <old_parts_lifetime>120</old_parts_lifetime>
        <!-- A hundred that go at once would go in 128 threads, which stay. -->
        <concurrent_part_removal_threshold>1000000</concurrent_part_removal_threshold>
    </merge_tree>
</clickhouse>
"""
MERGING_NICENESS: Final = 10
"""Of the threads that merge parts: a tenth of the weight of the others."""
_ALLOCATOR: Final = "prof:false"
"""The engine's allocator would note where each half megabyte comes from, for whoever asks."""


class EmbeddedEngine(Handles):
    """chDB in this process, its data in one folder that this process holds alone.

    Args:
        directory: The data directory; made if missing.
        settings: The store's settings.
        wait: Seconds to wait for another process to let go of the folder.

    Raises:
        StoreBusy: Another process holds the folder; the message says which.
        StoreError: The folder, or that of cold days, can't be made or is no store.
        ConfigError: The place of cold days lacks a setting.
    """

    def __init__(self, directory: Path, settings: Store, *, wait: float = 0) -> None:
        self.directory = directory
        self._lock = DirectoryLock(directory)
        self._lock.acquire(wait=wait)
        self._before = tempfile.tempdir, os.environ.get("TMPDIR")
        try:
            self._private_temporary_folder()
            configuration = self._configuration()
            os.environ.setdefault("JE_MALLOC_CONF", _ALLOCATOR)
            open_handle = partial(
                clickhouse_connect.get_client,
                interface="chdb",
                path=str(directory / "engine"),
                chdb_options={"config-file": str(configuration)},
            )
            with engine_errors():
                first = open_handle()
                first.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
                first.close()
            super().__init__(
                partial(open_handle, database=DATABASE, settings=ENGINE_SETTINGS),
                readers=settings.readers,
                limits={
                    "max_execution_time": settings.max_seconds,
                    "max_memory_usage": settings.max_memory,
                },
            )
            self.cold = open_cold(settings)
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        """Close the handles and let go of the folder."""
        if not self._closed:
            super().close()
            self._release()

    def _configuration(self) -> Path:
        """The engine's settings in a file, as it takes them in no other way."""
        file = self.directory.absolute() / "engine.xml"
        try:
            text = _CONFIGURATION.format(temporary=escape(tempfile.gettempdir()), merging_niceness=MERGING_NICENESS)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{file}: {error.strerror}") from error
        return file

    def _private_temporary_folder(self) -> None:
        """Each insert goes through a temporary file: killed, it must not stay where others read or nobody looks.

        The driver asks the interpreter where that is, the engine the environment.
        """
        folder = self.directory / "tmp"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder.absolute())

    def _release(self) -> None:
        tempfile.tempdir, folder = self._before
        if folder is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = folder
        self._lock.release()
