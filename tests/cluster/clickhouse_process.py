"""A process that is a ClickHouse server, with the HTTP and the native listener of one; ends when its parent does.

Run as `python clickhouse_process.py LIBRARY CONFIG`. The library has the whole of clickhouse-local, which listens when
a statement of its own says so; the statement after that lasts.
"""

import ctypes
import os
import sys
import threading

LISTEN = (
    "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; "
    "SELECT sleepEachRow(3) FROM numbers(1000000000) "
    "SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0 FORMAT Null"
)


def end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    library, config = sys.argv[1:]
    threading.Thread(target=end_with_parent, daemon=True).start()
    arguments = [each.encode() for each in ("clickhouse", f"--config-file={config}", f"--query={LISTEN}")]
    run = ctypes.CDLL(library).query_stable_v2
    run.restype = ctypes.c_void_p
    run.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
    run(len(arguments), (ctypes.c_char_p * len(arguments))(*arguments))
    # It has said why.
    sys.exit("ClickHouse has ended")


if __name__ == "__main__":
    main()
