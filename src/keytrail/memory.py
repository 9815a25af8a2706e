"""Memory that this process need not hold: of what only starting needed, and of what was freed.

All of it is about Linux and its C library; elsewhere these do nothing.
"""

import ctypes
import mmap
import re
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, Final

_MAPPINGS: Final = Path("/proc/self/smaps")
_MAPPING: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ +(/.*)")
_CHANGED: Final = re.compile(r"(?:Anonymous|Private_Dirty|Shared_Dirty): +([0-9]+) kB")


class _NoPandas(MetaPathFinder):
    """To whoever imports pandas, there is none."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Nothing is found for other names."""
        if fullname == "pandas":
            raise ModuleNotFoundError("keytrail does without pandas", name=fullname)


def without_pandas() -> None:
    """Let nobody load pandas, which Arrow does to ask whether a list is one of its: 28 MB, and 0.2 s of each start."""
    sys.meta_path.insert(0, _NoPandas())


def drop_code(library: str) -> int:
    """Let go of the pages of a library's code; what is called next is mapped again from the file's cache.

    To load the engine touches a third of its 370 MB of code, once. Where memory runs short the system can then drop
    from its cache what nobody has mapped.

    Args:
        library: How the name of its file begins.

    Returns:
        Bytes of code whose pages were let go of.
    """
    dropped = 0
    for start, end in _code(library):
        if _libc().madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED) == 0:
            dropped += end - start
    return dropped


def _code(library: str) -> Iterator[tuple[int, int]]:
    """Address ranges of a library's code which are as in its file: pages that were changed would be lost."""
    try:
        text = _MAPPINGS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return
    for about in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", text):
        found = _MAPPING.match(about)
        code = found and found[3] == "r-xp" and Path(found[4]).name.startswith(library)
        if found and code and not any(int(size) for size in _CHANGED.findall(about)):
            yield int(found[1], 16), int(found[2], 16)


def give_back() -> None:
    """Give the system what was freed. The C library keeps it, in as many heaps as threads have asked it."""
    if trim := getattr(_libc(), "malloc_trim", None):
        trim(0)


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)
