"""What an import stores, what it does not, and what it says of that."""

import base64
import gzip
import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from keytrail.collect import files, lines, textfile
from keytrail.collect.intake import Intake
from keytrail.errors import StoreFull
from keytrail.record import Taken
from keytrail.store.chunk import Chunk, Written
from keytrail.store.writer import Writer
from tests.cli.captures import lines_of, path_of, text
from tests.cli.command import Ran

Keytrail = Callable[..., Ran]
NAMES = ("msgpack", "msgpack-detailed-graphql-tcp", "protobuf-many-lists")
GOOD = lines_of()


def stored(keytrail: Keytrail, data: Path) -> int:
    """Records in a store."""
    (found,) = [item for item in keytrail("check", "--data", data, "--json").json() if item["name"] == "organisations"]
    return sum(int(part.split()[0].replace(",", "")) for part in found["text"].split("(")[1:])


@pytest.fixture
def imported(keytrail: Keytrail, tmp_path: Path) -> Callable[..., Any]:
    """Imports into one store; the result as JSON, with the status and what was said."""

    def take(*arguments: object, stdin: bytes = b"") -> Any:
        ran = keytrail("import", "--json", "--data", tmp_path / "data", *arguments, stdin=stdin)
        return {**ran.json(), "status": ran.status, "said": ran.err}

    return take


def file_of(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_captures_once_and_again(keytrail: Keytrail, tmp_path: Path) -> None:
    data = tmp_path / "data"
    paths = [path_of(name) for name in NAMES]
    first = keytrail("import", "--data", data, *paths)
    assert (first.status, first.err) == (0, "")
    assert [line.split("; ")[0].split("/")[-2:] for line in first.out.splitlines()] == [
        ["msgpack", "records.ndjson.gz: 1,943 stored, 0 already there, 0 rejected"],
        ["msgpack-detailed-graphql-tcp", "records.ndjson.gz: 775 stored, 0 already there, 0 rejected"],
        ["protobuf-many-lists", "records.ndjson.gz: 1,460 stored, 0 already there, 0 rejected"],
    ]
    # The same under another name and packed otherwise.
    for copy in (
        file_of(tmp_path / "plain", text(GOOD)),
        file_of(tmp_path / "zst", zstandard.compress(text(GOOD[:900])) + zstandard.compress(text(GOOD[900:]))),
    ):
        assert ": 0 stored, 1,943 already there, 0 rejected" in keytrail("import", "--data", data, copy).out
    assert stored(keytrail, data) == 1943 + 775 + 1460
    assert not (data / "rejects").exists()
    assert ": 1,943 stored, 0 already" in keytrail("import", "--again", "--data", data, tmp_path / "plain").out
    assert stored(keytrail, data) == 2 * 1943 + 775 + 1460


def test_bad_lines_are_named_kept_and_can_be_mended(imported: Callable[..., Any], tmp_path: Path) -> None:
    bad = {
        b"this is no JSON": "bad_line",
        b'{"record": "AAAA", "list":': "bad_line",
        b'{"list": "analytics-tyk-system-analytics"}': "bad_timestamp",
        b'{"list": "", "record": "' + base64.b64encode(b"no record") + b'"}': "not_a_record",
        b'{"api_key": "a", "timestamp": "never"}': "bad_field",
        b"\xff\xfe\x00": "bad_line",
    }
    mixed = [line for place, each in enumerate(bad) for line in (GOOD[place], each)]
    got = imported(file_of(tmp_path / "mixed.ndjson", text(mixed)))
    assert (got["stored"], got["status"]) == (len(bad), 1)
    counts = {reason: list(bad.values()).count(reason) for reason in bad.values()}
    assert got["rejected"] == counts
    for place, reason in enumerate(bad.values()):
        assert f"mixed.ndjson:{2 * place + 2}: {reason}" in got["said"]
    kept = Path(got["rejects_file"])
    assert kept.read_bytes() == text(list(bad))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700

    # As it is, it brings nothing but the same faults; mended, it brings what is missing and nothing else.
    as_it_is = imported(kept)
    assert (as_it_is["stored"], as_it_is["rejected"], as_it_is["status"]) == (0, counts, 1)
    kept.write_bytes(text(GOOD[100 : 100 + len(bad)]))
    mended = imported(kept)
    assert (mended["stored"], mended["rejected"], mended["status"]) == (len(bad), {}, 0)
    assert mended["rejects_file"] is None


def test_many_bad_lines_are_not_all_printed(keytrail: Keytrail, tmp_path: Path) -> None:
    ran = keytrail("import", "--quiet", "--data", "data", file_of(tmp_path / "no.csv", b"a,b,c\n" * 500))
    assert (ran.status, ran.out) == (1, "")
    assert len(ran.err.splitlines()) == 22
    assert "… and 480 more lines" in ran.err


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_truncated_file(imported: Callable[..., Any], tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    whole = pack(text(GOOD))
    cut = imported(file_of(tmp_path / "cut", whole[: len(whole) * 2 // 3]))
    assert 100 < cut["stored"] < 1900
    assert (cut["rejected"], cut["status"]) == ({"truncated": 1}, 1)
    assert f"cut:{cut['stored'] + 1}: truncated: the compressed data ends too early" in cut["said"]
    # What stood of the line in which it broke off, and not one byte more or less.
    kept = Path(cut["rejects_file"]).read_bytes().rstrip(b"\n")
    assert kept
    assert GOOD[cut["stored"]].startswith(kept)
    full = imported(file_of(tmp_path / "whole", whole))
    assert (full["stored"], full["duplicate"], full["status"]) == (len(GOOD) - cut["stored"], cut["stored"], 0)


def test_damaged_compression(imported: Callable[..., Any], tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(text(GOOD)))
    whole[len(whole) // 2 : len(whole) // 2 + 200] = bytes(200)
    got = imported(file_of(tmp_path / "damaged.gz", bytes(whole)))
    assert got["status"] == 1
    assert got["rejected"]["truncated"] == 1
    assert got["stored"] > 100


def test_what_is_plainly_something_else(imported: Callable[..., Any], tmp_path: Path) -> None:
    parquet = file_of(tmp_path / "a.parquet", b"PAR1" + bytes(1000) + b"PAR1")
    image = file_of(tmp_path / "b.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    got = imported(parquet, image, path_of())
    assert got["status"] == 1
    assert "a.parquet: damaged or no Parquet file" in got["said"]
    assert set(got["rejected"]) == {"bad_line"}
    assert (got["stored"], [bool(file["fault"]) for file in got["files"]]) == (1943, [True, False, False])


def test_missing_and_empty_files_do_not_keep_others_out(imported: Callable[..., Any], tmp_path: Path) -> None:
    empty = [
        file_of(tmp_path / "e1", b""),
        file_of(tmp_path / "e2", gzip.compress(b"")),
        file_of(tmp_path / "e3", b"\n \n"),
    ]
    got = imported(*empty, tmp_path / "missing", tmp_path, path_of())
    assert (got["stored"], got["rejected"], got["status"]) == (1943, {}, 1)
    assert f"keytrail: {tmp_path}/missing: No such file or directory" in got["said"]
    assert f"keytrail: {tmp_path}: Is a directory" in got["said"]
    assert imported(*empty)["status"] == 0


def test_standard_input(imported: Callable[..., Any]) -> None:
    got = imported("-", stdin=gzip.compress(text(GOOD[:300])))
    assert (got["stored"], got["status"]) == (300, 0)
    assert imported("-", stdin=text(GOOD[:300]))["duplicate"] == 300


def test_file_that_grows(imported: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "growing"
    whole = text(GOOD[:1000])
    # Cut in the middle of a line, as by a copy of a file that is still being written.
    part = text(GOOD[:400]) + GOOD[400][:50]
    first = imported(file_of(path, part))
    assert (first["stored"], first["rejected"]) == (400, {"not_a_record": 1})
    grown = imported(file_of(path, whole))
    assert (grown["stored"], grown["duplicate"], grown["status"]) == (600, 400, 0)
    last = imported(file_of(path, whole + GOOD[1000]))
    assert (last["stored"], last["duplicate"]) == (1, 1000)
    ended = imported(file_of(path, whole + text(GOOD[1000:1003])))
    assert (ended["stored"], ended["duplicate"]) == (2, 1001)


def test_different_files_do_not_replace_each_other(
    imported: Callable[..., Any], keytrail: Keytrail, tmp_path: Path
) -> None:
    # The same first line, the same times, the same number of lines: all that a chunk's place is found by.
    parts = [[GOOD[0], *GOOD[1 + part : 900 : 3]] for part in range(3)]
    paths = [file_of(tmp_path / f"part{number}", text(part)) for number, part in enumerate(parts)]
    for path, part in zip(paths, parts, strict=True):
        assert imported(path)["stored"] == len(part)
    assert imported(*paths)["duplicate"] == sum(map(len, parts))
    assert stored(keytrail, tmp_path / "data") == sum(map(len, parts))


def test_files_that_share_a_beginning(
    imported: Callable[..., Any], keytrail: Keytrail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_LINES", 200)
    one = file_of(tmp_path / "one", text(GOOD[:700]))
    # Two whole chunks are the same, the third begins alike.
    two = file_of(tmp_path / "two", text(GOOD[:450] + GOOD[1000:1250]))
    assert imported(one)["stored"] == 700
    got = imported(two)
    assert (got["stored"], got["duplicate"]) == (300, 400)
    assert imported(one, two)["duplicate"] == 1400
    assert stored(keytrail, tmp_path / "data") == 1000


def test_line_that_is_longer_than_any_may_be(
    imported: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (lines, textfile):
        monkeypatch.setattr(module, "LONGEST_LINE", 10_000)
    long = b'{"record": "' + b"A" * 25_000 + b'"}'
    got = imported(file_of(tmp_path / "long", text([GOOD[0], long, GOOD[1]])))
    assert (got["stored"], got["rejected"]) == (2, {"too_large": 1})
    assert "long:2: too_large: longer than a line may be" in got["said"]


def test_format_is_obeyed(imported: Callable[..., Any], tmp_path: Path) -> None:
    got = imported("--format", "ndjson", file_of(tmp_path / "capture", text(GOOD[:5])))
    assert (got["stored"], got["rejected"]) == (0, {"bad_timestamp": 5})


def test_sigterm_finishes_the_chunk_and_the_next_run_goes_on(
    imported: Callable[..., Any], keytrail: Keytrail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_LINES", 300)
    write = Intake.write

    def write_and_be_told_to_stop(intake: Intake, chunk: Chunk) -> Taken:
        if chunk.offset == 300:
            os.kill(os.getpid(), signal.SIGTERM)
        return write(intake, chunk)

    with monkeypatch.context() as patched:
        patched.setattr(Intake, "write", write_and_be_told_to_stop)
        got = imported(path_of(), path_of("protobuf-many-lists"))
    assert (got["status"], got["interrupted"]) == (130, True)
    assert "Interrupted. What was stored stays; the same command goes on from there." in got["said"]
    assert 600 <= got["stored"] <= 1200
    assert stored(keytrail, tmp_path / "data") == got["stored"]
    rest = imported(path_of())
    assert (rest["stored"], rest["duplicate"], rest["status"]) == (1943 - got["stored"], got["stored"], 0)


def test_store_that_fails(
    imported: Callable[..., Any], keytrail: Keytrail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_LINES", 300)
    write, tried = Writer.write, []

    def fail(writer: Writer, chunk: Chunk) -> Written:
        tried.append(chunk.offset)
        if chunk.offset == 600:
            raise StoreFull("No space left on device")
        return write(writer, chunk)

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "write", fail)
        ran = keytrail("import", "--data", tmp_path / "data", path_of())
    assert ran.status == 1
    assert ran.err.splitlines() == [
        "What was stored before stays; the same command goes on from there.",
        "keytrail: No space left on device",
    ]
    # Nothing after it was tried: the next run could not know of more than one.
    assert tried == [0, 300, 600]
    rest = imported(path_of())
    assert (rest["stored"], rest["duplicate"], rest["status"]) == (1343, 600, 0)
    assert stored(keytrail, tmp_path / "data") == 1943


def test_no_wish_is_taken_for_a_file(keytrail: Keytrail) -> None:
    assert keytrail("import").status == 2
    assert keytrail("import", "--format", "xml", "a").status == 2
    ran = keytrail("import", "--json", "nowhere")
    assert json.loads(ran.out)["files"] == [
        {
            "file": "nowhere",
            "lines": 0,
            "stored": 0,
            "duplicate": 0,
            "rejected": {},
            "fault": "nowhere: No such file or directory",
        }
    ]
