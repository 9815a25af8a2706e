import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "keytrail"

# Each part of the package and the parts that it may import, beside itself. cli and demo see everything.
FOUNDATION = frozenset({"config", "errors", "instants", "memory", "metrics", "telemetry", "record"})
MAY_IMPORT = {
    **dict.fromkeys(FOUNDATION, FOUNDATION),
    "store": FOUNDATION,
    "collect": FOUNDATION | {"store"},
    "query": FOUNDATION | {"store"},
    "web": FOUNDATION | {"store", "query"},
}
SEES_ALL = frozenset({"cli", "demo"})
ENTRY_POINTS = {"__main__": frozenset({"cli"}), "__init__": frozenset[str]()}
LONGEST_MODULE = 400

# Put together from pieces, so that this file does not contain what it looks for.
FORBIDDEN = [
    re.compile(r"\b" + re.escape(".".join(host)))
    for host in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
    )
] + [re.compile(r"(?<![\w.:/-])/" + folder + "/") for folder in ("work", "root", "opt/wheels")]


def parts_of_package() -> set[str]:
    """Names of the top-level modules and packages inside keytrail."""
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    return modules | {path.parent.name for path in PACKAGE.glob("*/*.py")}


def imported_modules(path: Path) -> Iterator[str]:
    """Full dotted names that a file imports, wherever in it; `from a import b` gives `a.b`."""
    package = ["keytrail", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def imported_parts(path: Path) -> set[str]:
    """Parts of keytrail that a file imports; names such as `keytrail.__version__` are no part."""
    names = [module.split(".") for module in imported_modules(path)]
    return {name[1] for name in names if name[0] == "keytrail" and len(name) > 1} & parts_of_package()


def python_files() -> list[Path]:
    folders = (PACKAGE, ROOT / "tests", ROOT / "benchmarks")
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def tracked_files() -> list[Path]:
    """Files that git holds or would hold, so a fault shows before the commit, not after it."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def test_every_part_has_its_place_in_the_layout() -> None:
    unplaced = parts_of_package() - MAY_IMPORT.keys() - SEES_ALL - ENTRY_POINTS.keys()
    assert not unplaced, f"say in MAY_IMPORT what these may import: {sorted(unplaced)}"


def test_imports_go_one_way() -> None:
    faults = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        part = relative.parts[0].removesuffix(".py")
        if part in SEES_ALL:
            continue
        allowed = MAY_IMPORT.get(part, ENTRY_POINTS.get(part, frozenset())) | {part}
        faults += [f"{relative} imports {other}" for other in sorted(imported_parts(path) - allowed)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("import keytrail.store.writer", {"store"}),
        ("from keytrail import __version__, store", {"store"}),
        ("from ..store import writer", {"store"}),
        ("from .. import store", {"store"}),
        ("from . import sibling", {"query"}),
        ("def late():\n    from keytrail.store.writer import Writer", {"store"}),
        ("if TYPE_CHECKING:\n    import keytrail.store as s", {"store"}),
        ("import storekeeper", set()),
    ],
)
def test_every_way_to_import_is_seen(
    source: str, parts: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("store", "query"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    module = tmp_path / "query" / "run.py"
    module.write_text(source, encoding="utf-8")
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    assert imported_parts(module) == parts


def test_no_module_is_too_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files()
        if not path.stem.endswith("_pb2")
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE} == {}


def test_tracked_files_name_no_registry_and_no_machine() -> None:
    faults = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            # No text, or a file of another test, which is gone by now.
            continue
        faults += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), start=1)
            if any(pattern.search(line) for pattern in FORBIDDEN)
        ]
    assert not faults, "\n".join(faults)
