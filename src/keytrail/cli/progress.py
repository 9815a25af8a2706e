"""How far long work has come: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from keytrail.collect.files import Summary
from keytrail.collect.textfile import Lines

LINE_EVERY: Final = 5.0
"""Seconds between plain lines."""

Told = Callable[[Summary], None]


@contextmanager
def progress(console: Console, lines: Lines, *, quiet: bool = False) -> Iterator[Told]:
    """What is to be told how far an import has come.

    Args:
        console: Where it is shown.
        lines: The file; the bytes that were read of it give the time left.
        quiet: Show nothing.
    """
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with _bar(console, lines) as told:
            yield told
    else:
        yield _Plain(console, lines)


@contextmanager
def _bar(console: Console, lines: Lines) -> Iterator[Told]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[done]:,} records, {task.fields[rate]:,.0f}/s, time left"),
        TimeRemainingColumn(),
    )
    began = time.perf_counter()
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(lines.name, total=lines.size, done=0, rate=0.0)

        def told(summary: Summary) -> None:
            rate = summary.lines / max(time.perf_counter() - began, 1e-9)
            shown.update(task, completed=lines.read, done=summary.lines, rate=rate)

        yield told


class _Plain:
    """Lines for logs and pipes."""

    def __init__(self, console: Console, lines: Lines) -> None:
        self._console = console
        self._lines = lines
        self._began = self._last = time.perf_counter()

    def __call__(self, summary: Summary) -> None:
        now = time.perf_counter()
        if now - self._last < LINE_EVERY:
            return
        self._last = now
        seconds = now - self._began
        text = f"{self._lines.name}: {summary.lines:,} records, {summary.lines / seconds:,.0f}/s"
        # Of a table with an index at its end it can't be told how many bytes were read.
        if self._lines.size and self._lines.read:
            share = self._lines.read / self._lines.size
            text += f", {share:.0%}, {seconds / share - seconds:,.0f} s left"
        self._console.print(text, markup=False, highlight=False)
