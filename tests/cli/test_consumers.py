import json
from pathlib import Path

from tests.cli.captures import ORG, path_of
from tests.cli.command import run


def test_a_directory_is_imported_or_its_fault_named(tmp_path: Path) -> None:
    assert run("import", path_of(), home=tmp_path).status == 0
    file = tmp_path / "consumers.csv"
    file.write_text("consumer,kind,value\nacme,key,aaaaaaaa\nacme,client,c1\n", encoding="utf-8")
    ran = run("consumers", "import", str(file), "--org", ORG, home=tmp_path)
    assert (ran.status, ran.out.strip()) == (0, f"2 links of {ORG!r}")
    file.write_text("consumer,kind,value\nacme,key,aaaaaaaa\nbeta,key,aaaaaaaa\n", encoding="utf-8")
    ran = run("consumers", "import", str(file), "--org", ORG, home=tmp_path)
    assert ran.status == 1
    assert "line 3: overlaps line 2" in ran.err


def test_aliases_become_a_directory(tmp_path: Path) -> None:
    records = [("aaaaaaaa", "old name", 1), ("aaaaaaaa", "ACME", 2), ("bbbbbbbb", "ACME", 1), ("cccccccc", "", 3)]
    lines = [
        json.dumps(
            {
                "timestamp": f"2026-03-01T12:00:0{second}Z",
                "org_id": ORG,
                "api_key": key,
                "alias": alias,
                "response_code": 200,
            }
        )
        for key, alias, second in records
    ]
    file = tmp_path / "records.ndjson"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert run("import", str(file), home=tmp_path).status == 0
    ran = run("consumers", "suggest", "--from", "2026-03-01", "--to", "2026-03-01", home=tmp_path)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == "consumer,name,kind,value\nACME,ACME,key,aaaaaaaa\nACME,ACME,key,bbbbbbbb\n"
    directory = tmp_path / "consumers.csv"
    directory.write_text(ran.out, encoding="utf-8")
    assert run("consumers", "import", str(directory), home=tmp_path).out.strip() == f"2 links of {ORG!r}"
