"""The wheel that users install: everything in it, and it runs where nothing of the checkout is."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import keytrail

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command; its whole output in the failure when it does not exit with 0."""
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keytrail command in an environment that holds the wheel and its locked dependencies, no more."""
    folder = tmp_path_factory.mktemp("installed")
    # Constraints with hashes would demand a hash of the wheel too, which has just been built.
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    constraints = folder / "constraints.txt"
    constraints.write_text(re.sub(r" \\\n\s+--hash=\S+", "", lock), encoding="utf-8")
    uv = [sys.executable, "-m", "uv", "--quiet", "--no-config"]
    run(*uv, "venv", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(*uv, "pip", "install", "--python", python, "--constraints", constraints, wheel, cwd=folder)
    return folder / "venv" / "bin" / "keytrail"


def test_wheel_holds_the_package_and_its_data(wheel: Path) -> None:
    source = ROOT / "src"
    web = source / "keytrail" / "web"
    pages = [*web.glob("templates/**/*.html"), *(path for path in web.glob("static/**/*") if path.is_file())]
    data = [*source.glob("keytrail/store/sql/*.sql"), *pages]
    expected = {path.relative_to(source).as_posix() for path in [*source.rglob("*.py"), *data]}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert any(name.startswith("keytrail/store/sql/") for name in names)
    assert expected | {"keytrail/py.typed"} <= names
    # Fetched at set-up, not committed.
    libraries = {"echarts.js", "echarts.LICENSE", "echarts.NOTICE", "htmx.js", "htmx.LICENSE"}
    with zipfile.ZipFile(wheel) as packed:
        for name in libraries:
            path = f"keytrail/web/static/vendor/{name}"
            assert packed.read(path) == (source / path).read_bytes()
            assert packed.getinfo(path).file_size > 100, name
    assert f"keytrail-{keytrail.__version__}.dist-info/licenses/LICENSE" in names


def test_wheel_holds_nothing_but_the_package(wheel: Path) -> None:
    folders = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert folders == {"keytrail", f"keytrail-{keytrail.__version__}.dist-info"}


def test_installed_command_tells_its_version(installed: Path, tmp_path: Path) -> None:
    assert keytrail.__version__ in run(installed, "--version", cwd=tmp_path).split()


def test_installed_pages_have_their_libraries(installed: Path, tmp_path: Path) -> None:
    code = (
        "from keytrail.web.ui.static import assets;"
        "print(*(len(content) for name, (content, _) in assets().items() if 'vendor' in name))"
    )
    sizes = run(installed.parent / "python", "-I", "-c", code, cwd=tmp_path).split()
    assert len(sizes) == 2
    assert min(map(int, sizes)) > 40_000


def test_installed_command_explains_serve(installed: Path, tmp_path: Path) -> None:
    assert "--port" in run(installed, "serve", "--help", cwd=tmp_path)
