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
