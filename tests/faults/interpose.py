"""Put a Python function in the place of one that the engine calls in the C library.

A library's calls into others go through a table of addresses, which the loader fills in when it loads the library. That
table is written again here. So no compiler is needed, as it were for a library that is loaded before all others, and it
does not matter that the engine is loaded in a way that looks for names in itself first. For Linux on 64 bits.
"""

import ctypes
import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

Rename = Callable[[bytes, bytes], int]

_PT_LOAD, _PT_DYNAMIC, _PF_X = 1, 2, 1
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_JMPREL = 2, 5, 6, 23
_READ_WRITE: Final = 1 | 2
_RENAME: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, use_errno=True)
_kept: list[object] = []
"""What the engine calls must not be collected as garbage."""


def interpose_rename(library: Path, make: Callable[[Rename], Rename]) -> None:
    """Let a loaded library call another function where it calls `rename`.

    Args:
        library: Its file.
        make: Gives that function; told of the one before, which takes the old path and the new and gives 0, or -1.

    Raises:
        LookupError: The library is not loaded, or does not call it.
    """
    slot = _slot_of(library, b"rename")
    entry = ctypes.c_void_p.from_address(slot)
    assert entry.value is not None
    replacement = _RENAME(make(_RENAME(entry.value)))
    _kept.append(replacement)
    page = slot & ~(mmap.PAGESIZE - 1)
    # The loader makes the table read-only once it is filled.
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), _READ_WRITE):
        raise OSError("the table of addresses can't be written")
    entry.value = ctypes.cast(replacement, ctypes.c_void_p).value


def _slot_of(library: Path, name: bytes) -> int:
    """Where the address of a function stands that a library calls."""
    base, dynamic = _place_of(library)
    tags: dict[int, int] = {}
    while (entry := struct.unpack("qQ", ctypes.string_at(dynamic, 16)))[0]:
        tags[entry[0]] = entry[1]
        dynamic += 16

    def address(tag: int) -> int:
        # Some loaders turn these into addresses, others leave them as distances.
        return tags[tag] if tags[tag] >= base else base + tags[tag]

    table = ctypes.string_at(address(_DT_JMPREL), tags[_DT_PLTRELSZ])
    for offset, info, _ in struct.iter_unpack("QQq", table):
        symbol = address(_DT_SYMTAB) + 24 * (info >> 32)
        (at,) = struct.unpack("I", ctypes.string_at(symbol, 4))
        if ctypes.string_at(address(_DT_STRTAB) + at) == name:
            return base + int(offset)
    raise LookupError(f"{library} does not call {name.decode()}")


def _place_of(library: Path) -> tuple[int, int]:
    """Where a library is loaded, and where its dynamic section is."""
    with library.open("rb") as file:
        (table,) = struct.unpack_from("Q", file.read(64), 32)
        file.seek(table)
        headers = file.read(4096)
    dynamic, distance = 0, 0
    for kind, flags, offset, address in struct.iter_unpack("IIQQ32x", headers[: 56 * (len(headers) // 56)]):
        if kind == _PT_DYNAMIC:
            dynamic = dynamic or address
        elif kind == _PT_LOAD and flags & _PF_X:
            distance = address - offset
    # Where its code is: the engine reads its own file, and may have all of it in memory a second time.
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(library.resolve())):
            place, rights, offset_in_file, *_ = line.split()
            if "x" in rights:
                base = int(place.split("-")[0], 16) - int(offset_in_file, 16) - distance
                return base, base + dynamic
    raise LookupError(f"{library} is not loaded")
