"""Import of files: lines in chunks, each exactly once, whatever is killed and however often it is run.

A chunk is found again by the digest of everything before it and in it. So the same file does not count twice, under
whatever name and however it is compressed, a file that has grown counts only what is new, and a run that was killed
goes on where it stopped. Two files that begin with the same chunks are, for those chunks, the same file; where they
part, both count. A file in which a line was changed is another file: to import what was rejected, import the rejects.
"""

import gc
import hashlib
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from keytrail.collect.decode import uncollected
from keytrail.collect.intake import Intake
from keytrail.collect.lines import Format
from keytrail.collect.stop import Stop
from keytrail.collect.textfile import Lines
from keytrail.errors import StoreError
from keytrail.record import Reason, Taken

CHUNK_LINES: Final = 50_000
CHUNK_BYTES: Final = 48 * 1024 * 1024
_HASHED: Final = 256
"""Lines that are hashed at once: enough to let go of the interpreter, few enough to stay in the cache."""


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that became no row.

    Attributes:
        file: Name of the file.
        line: Its number, from 1.
        reason: Why.
        detail: What was found, never the content.
        content: The line itself, for the rejects file.
    """

    file: str
    line: int
    reason: Reason
    detail: str
    content: bytes


@dataclass(slots=True)
class Summary:
    """What became of the lines of a file."""

    lines: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Summary") -> None:
        """Add another file's."""
        self.lines += other.lines
        self.stored += other.stored
        self.duplicate += other.duplicate
        for reason, count in other.rejected.items():
            self.rejected[reason] = self.rejected.get(reason, 0) + count


class Target(Protocol):
    """Where chunks go: the store in this process, or a running server."""

    def seen(self, batch_id: str, offset: int) -> list[dict[str, Any]]:
        """What was confirmed of a chunk: `taken` and `next` of each."""

    def send(
        self, batch_id: str, offset: int, lines: Sequence[bytes], following: "Future[str]", attempt: int, origin: str
    ) -> "Future[Taken]":
        """Store a chunk, perhaps later; `following` is what the next one is found by."""


class InOrder:
    """A thread that does one thing after another, and nothing more once one has failed.

    So only the first chunk that is not confirmed can have been tried: the next run relies on it.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "chunks")
        self._failed = False

    def submit(self, work: Callable[[], Taken]) -> Future[Taken]:
        """Do something after all that was submitted before."""
        return self._thread.submit(self._do, work)

    def _do(self, work: Callable[[], Taken]) -> Taken:
        if self._failed:
            raise StoreError("a chunk before this one could not be stored")
        try:
            return work()
        except BaseException:
            self._failed = True
            raise


class Here:
    """The store in this process: one thread decodes while another inserts.

    Args:
        intake: Takes the lines.
        form: What the lines hold.
    """

    def __init__(self, intake: Intake, form: Format) -> None:
        self._intake = intake
        self._form = form
        self._inserts = InOrder()

    def seen(self, batch_id: str, offset: int) -> list[dict[str, Any]]:
        """What was confirmed of a chunk."""
        return self._intake.seen(batch_id, offset)

    def send(
        self, batch_id: str, offset: int, lines: Sequence[bytes], following: Future[str], attempt: int, origin: str
    ) -> Future[Taken]:
        """Decode now, insert in the other thread."""
        prepared = self._intake.prepare(
            batch_id, offset, lines, following="", attempt=attempt, origin=origin, form=self._form
        )
        # Its digest was made meanwhile: to hash lets go of the interpreter, to decode does not.
        chunk = replace(prepared, next=following.result())
        return self._inserts.submit(lambda: self._intake.write(chunk))


def import_lines(
    lines: Lines,
    target: Target,
    *,
    again: bool = False,
    stop: Stop | None = None,
    on_bad: Callable[[Bad], None] = lambda _: None,
    on_progress: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Store the lines of a file.

    Args:
        lines: The lines.
        target: Where they go.
        again: Count them though they were imported before.
        stop: Asked between chunks; what was begun is finished.
        on_bad: Told of each line that became no row.
        on_progress: Told what became of the lines so far, after each chunk.

    Raises:
        StoreError: A chunk could not be stored; what was stored before stays, and running again goes on there.
    """
    tally = _Tally(lines.name, on_bad, on_progress)
    stop = stop or Stop()
    digest = ""
    offset = 0
    # Only the first chunk that is not confirmed can have been tried by a run that was killed.
    attempt = 1 if again else 2
    with uncollected(), ThreadPoolExecutor(1, "digest") as hashing:
        while chunk := stop.leave(lambda: lines.take(CHUNK_LINES, CHUNK_BYTES)):
            # Chunks of different files would often be looked for in the same place without the first line.
            digest = digest or hashlib.sha256(secrets.token_bytes(16) if again else chunk[0][1]).hexdigest()
            repeated = 0 if again else _repeated(digest, chunk, target.seen(digest, offset))
            if repeated:
                lines.put_back(chunk[repeated:])
                chunk = chunk[:repeated]
            following = hashing.submit(_extended, digest, chunk)
            if repeated:
                tally.repeated(repeated)
            else:
                future = target.send(digest, offset, [line for _, line in chunk], following, attempt, lines.name)
                tally.sent(future, chunk)
                attempt = 1
            digest, offset = following.result(), offset + len(chunk)
            # Once a chunk, not whenever so many lines have been read.
            gc.collect(0)
    tally.settle()
    if lines.broken and not stop.asked:
        tally.bad(Bad(lines.name, lines.number + 1, Reason.TRUNCATED, lines.broken, lines.rest))
    return tally.summary


class _Tally:
    """Counts what becomes of chunks; waits for one when the next has been sent."""

    def __init__(self, name: str, on_bad: Callable[[Bad], None], on_progress: Callable[[Summary], None]) -> None:
        self.summary = Summary()
        self._name = name
        self._on_bad = on_bad
        self._on_progress = on_progress
        self._waiting: tuple[Future[Taken], list[tuple[int, bytes]]] | None = None

    def sent(self, future: Future[Taken], chunk: list[tuple[int, bytes]]) -> None:
        self.settle()
        self._waiting = future, chunk

    def repeated(self, lines: int) -> None:
        self.settle()
        self.summary.lines += lines
        self.summary.duplicate += lines
        self._on_progress(self.summary)

    def bad(self, item: Bad) -> None:
        self._count(item.reason)
        self._on_bad(item)

    def _count(self, reason: Reason) -> None:
        rejected = self.summary.rejected
        rejected[reason.value] = rejected.get(reason.value, 0) + 1

    def settle(self) -> None:
        """Count the chunk that was sent last."""
        if self._waiting is None:
            return
        (future, chunk), self._waiting = self._waiting, None
        taken = future.result()
        self.summary.lines += len(chunk)
        self.summary.stored += taken.stored
        self.summary.duplicate += taken.duplicate
        for item in taken.rejected:
            if item.reason is Reason.ERASED:
                # No fault, and not to be kept anywhere.
                self._count(item.reason)
                continue
            number, content = chunk[item.index]
            self.bad(Bad(self._name, number, item.reason, item.detail, content))
        self._on_progress(self.summary)


def _extended(digest: str, chunk: Sequence[tuple[int, bytes]]) -> str:
    hashed = hashlib.sha256(digest.encode())
    for start in range(0, len(chunk), _HASHED):
        hashed.update(b"\n".join([*[line for _, line in chunk[start : start + _HASHED]], b""]))
    return hashed.hexdigest()


def _repeated(digest: str, chunk: Sequence[tuple[int, bytes]], known: Sequence[dict[str, Any]]) -> int:
    """How many of the lines were imported before at this place: a confirmed chunk may be shorter than this one."""
    for item in known:
        count = int(item["taken"])
        if 0 < count <= len(chunk) and _extended(digest, chunk[:count]) == item["next"]:
            return count
    return 0
