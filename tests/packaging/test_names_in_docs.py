"""What the documentation names in the code is there, so that a rename shows."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "keytrail"


def defined(source: str, name: str) -> bool:
    """Whether a module defines a name, or has it as the name of a row in a catalogue."""
    inner = re.escape(name.rpartition(".")[2])
    return re.search(rf'(?:def|class) {inner}\b|^\s*{inner}\s*[:=]|"{inner}"', source, re.MULTILINE) is not None


def test_each_rule_of_the_compatible_api_stands_where_the_table_says() -> None:
    rules = re.findall(
        r"^\| .* \| (?:[COI]|C, I included) \| (.+) \|$", (ROOT / "COMPATIBILITY.md").read_text(encoding="utf-8"), re.M
    )
    assert len(rules) > 50
    missing = []
    for place in rules:
        file, *names = re.findall(r"`([^`]+)`", place)
        source = (PACKAGE / file).read_text(encoding="utf-8")
        missing += [f"{file} {name}" for name in names if not defined(source, name)]
    assert missing == []


def test_modules_that_are_named_are_there() -> None:
    places = [ROOT, ROOT / "src", PACKAGE, *(one for one in PACKAGE.rglob("*") if one.is_dir())]
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *PACKAGE.rglob("*.py")]
    missing = []
    for file in files:
        named = re.findall(r"`([\w./-]+\.(?:py|sql|lua|js|css|proto))`", file.read_text(encoding="utf-8"))
        missing += [f"{file}: {name}" for name in named if not any((place / name).is_file() for place in places)]
    assert missing == []
