"""What an import does with each file, where its lines go, and what it says of it."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.console import Console

from keytrail.cli.progress import progress
from keytrail.cli.reach import Reached
from keytrail.collect.files import Bad, Here, InOrder, Summary, Target, import_lines
from keytrail.collect.intake import Intake
from keytrail.collect.lines import Format
from keytrail.collect.stop import INTERRUPTED, Stop
from keytrail.collect.tablefile import open_lines
from keytrail.collect.textfile import open_file
from keytrail.errors import FileError, KeytrailError
from keytrail.record import MOST_ORIGIN, Reason, Rejected, Taken

SHOWN = 20
"""Bad lines that are printed one by one; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a file."""

    file: str
    summary: Summary
    fault: str = ""


class Rejects:
    """The file of lines that were not stored; made at the first one, readable only by its owner.

    Args:
        path: Where; None for a new one in `directory`.
        directory: The data directory, where no one else reads; None for a server elsewhere: the working directory.
    """

    def __init__(self, path: Path | None, directory: Path | None) -> None:
        name = f"rejects-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.ndjson"
        self.path = path or (directory / "rejects" / name if directory else Path(name))
        self.count = 0
        self._file: int | None = None

    def __enter__(self) -> "Rejects":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)

    @property
    def written(self) -> bool:
        """Whether there is such a file; of damaged data nothing may be left to keep."""
        return self._file is not None

    def add(self, item: Bad) -> None:
        """Keep a line."""
        self.count += 1
        if not item.content:
            return
        if self._file is None:
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            except OSError as error:
                raise FileError(f"{self.path}: {error.strerror}") from error
        # At once: a process that is killed must not have reported a line that is nowhere.
        rest = memoryview(item.content + b"\n")
        while rest:
            rest = rest[os.write(self._file, rest) :]


class There:
    """A running server as the target of an import.

    Args:
        reached: The way to it.
        form: What the lines hold.
    """

    def __init__(self, reached: Reached, form: str) -> None:
        self._reached = reached
        self._form = form
        self._sending = InOrder()

    def seen(self, batch_id: str, offset: int) -> list[dict[str, Any]]:
        """What was confirmed of a chunk."""
        found: list[dict[str, Any]] = self._reached.get(f"/api/v1/imports/{batch_id}/{offset}").json()["data"]
        return found

    def send(
        self, batch_id: str, offset: int, lines: Sequence[bytes], following: Future[str], attempt: int, origin: str
    ) -> Future[Taken]:
        """Send the lines in the other thread, while this one reads the next."""
        body = b"\n".join(lines) + b"\n"
        about = {
            "next": following.result(),
            "attempt": str(attempt),
            "origin": origin[-MOST_ORIGIN:],
            "format": self._form,
        }

        def send() -> Taken:
            answer = self._reached.post(f"/api/v1/imports/{batch_id}/{offset}", about, body).json()
            rejected = [Rejected(r["line"], Reason(r["reason"]), r["detail"]) for r in answer["rejected"]]
            return Taken(answer["stored"], answer["duplicate"], rejected)

        return self._sending.submit(send)


class Importing:
    """An import of some files.

    Args:
        reached: The way to the store, or into it.
        rejects: Takes the lines that are not stored.
        stop: Asked between chunks.
        form: What the files hold.
        again: Count what was imported before.
        quiet: Print only faults.
        as_json: Print the result as one JSON object.
    """

    def __init__(
        self,
        reached: Reached | Intake,
        rejects: Rejects,
        stop: Stop,
        *,
        form: str,
        again: bool,
        quiet: bool,
        as_json: bool,
    ) -> None:
        self._reached = reached
        self._form = form
        self._targets: dict[str, Target] = {}
        self._rejects = rejects
        self._stop = stop
        self._again = again
        self._quiet = quiet
        self._as_json = as_json
        self._console = Console(stderr=True, soft_wrap=True)
        self._done: list[Done] = []

    def take(self, name: str) -> None:
        """Import a file; a fault of the file is told, and the next one can be taken.

        Raises:
            StoreError: The store can't go on.
        """
        began = time.perf_counter()
        try:
            opened, shown, size = open_file(name)
            with opened:
                found = self._stop.leave(lambda: open_lines(opened, shown, size, self._form))
                if found is None:
                    return
                lines, form = found
                with progress(self._console, lines, quiet=self._quiet) as told:
                    summary = import_lines(
                        lines,
                        self._target(form),
                        again=self._again,
                        stop=self._stop,
                        on_bad=self._bad,
                        on_progress=told,
                    )
        except FileError as error:
            self._say(f"keytrail: {error}")
            self._done.append(Done(name, Summary(), str(error)))
            return
        except KeytrailError:
            self._say("What was stored before stays; the same command goes on from there.")
            raise
        self._done.append(Done(shown, summary))
        if not self._quiet and not self._as_json:
            typer.echo(_sentence(shown, summary, time.perf_counter() - began))

    def _target(self, form: str) -> Target:
        """Where lines of a form go."""
        if form not in self._targets:
            to = self._reached
            self._targets[form] = Here(to, Format(form)) if isinstance(to, Intake) else There(to, form)
        return self._targets[form]

    def report(self) -> int:
        """Say what became of all files; the exit status."""
        rejects = self._rejects
        if rejects.count > SHOWN:
            self._say(f"… and {rejects.count - SHOWN:,} more lines")
        if rejects.written:
            self._say(f"Lines that were not stored are kept in {rejects.path}")
        if self._stop.asked:
            self._say("Interrupted. What was stored stays; the same command goes on from there.")
        if self._as_json:
            typer.echo(msgspec.json.encode(self._result()))
        if self._stop.asked:
            return INTERRUPTED
        return 1 if rejects.count or any(done.fault for done in self._done) else 0

    def _result(self) -> dict[str, Any]:
        total = Summary()
        for done in self._done:
            total.add(done.summary)
        return {
            **asdict(total),
            "files": [{"file": done.file, **asdict(done.summary), "fault": done.fault} for done in self._done],
            "rejects_file": str(self._rejects.path) if self._rejects.written else None,
            "interrupted": self._stop.asked,
        }

    def _bad(self, item: Bad) -> None:
        self._rejects.add(item)
        if self._rejects.count <= SHOWN:
            detail = f": {item.detail}" if item.detail else ""
            self._say(f"{item.file}:{item.line}: {item.reason.value}{detail}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)


def _sentence(name: str, summary: Summary, seconds: float) -> str:
    rejected = sum(summary.rejected.values())
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(summary.rejected.items()))
    return (
        f"{name}: {summary.stored:,} stored, {summary.duplicate:,} already there, {rejected:,} rejected"
        + (f" ({reasons})" if reasons else "")
        + f"; {summary.lines / max(seconds, 1e-9):,.0f} records/s"
    )
