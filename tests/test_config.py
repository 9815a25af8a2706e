import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from importlib import resources
from pathlib import Path
from unittest.mock import patch

import platformdirs
import pytest

from keytrail.config import Settings, load
from keytrail.errors import ConfigError
from tests.cli.command import environment
from tests.settings_table import FILE, names, page

SHA = "a" * 64
TOKEN = f'[[tokens]]\nname = "t"\nsha256 = "{SHA}"\norg = "o"\n'


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only the settings of the test are there."""
    monkeypatch.chdir(tmp_path)
    with patch.dict(os.environ, environment(tmp_path / "user"), clear=True):
        yield


def wrong(text: str) -> str:
    """What is said of a settings file."""
    Path("keytrail.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load()
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 1", "colour: unknown setting"),
        ("[server]\nports = 1", "server.ports: unknown setting"),
        ("[servers]\nport = 1", "servers: unknown setting"),
        ('[server]\nport = "eighty"', "server.port: Input should be a valid integer"),
        ("[server]\nport = 65536", "server.port: Input should be less than or equal to 65535"),
        ('[server]\npublic_path = "stats"', "server.public_path: must start with /"),
        ('[server]\npublic_path = "/api/x"', "server.public_path: must not begin with /api"),
        ("server = 1", "server: "),
        ("page_size = 0", "page_size: Input should be greater than 0"),
        ('track_all_paths = "perhaps"', "track_all_paths: Input should be a valid boolean"),
        ('timezone = "Mars/Olympus"', "timezone: 'Mars/Olympus' is not a known time zone"),
        ('timezone = "/etc/localtime"', "timezone: '/etc/localtime' is not a known time zone"),
        ('[store]\nurl = "postgres://u:p@h/d"', "store.url: has the unknown scheme 'postgres'"),
        ("[store]\nmax_seconds = 0", "store.max_seconds: Input should be greater than 0"),
        ('[privacy]\nkeys = "maybe"', "privacy.keys: Input should be 'auto', 'hash' or 'keep'"),
        ('[privacy]\nheaders = ["Host", "Authorization"]', "privacy.headers: 'Authorization' holds credentials"),
        ('[privacy]\nbodies = "some"', "privacy.bodies: Input should be 'drop' or 'keep'"),
        ("[privacy]\nbody_limit = -1", "privacy.body_limit: Input should be greater than 0"),
        ("[redis]\nprefix = 5", "redis.prefix: Input should be a valid string"),
        (TOKEN.replace(SHA, "abc"), "tokens.0.sha256: String should match pattern"),
        (TOKEN + 'permissions = ["all"]', "tokens.0.permissions.0: Input should be 'analytics'"),
        (TOKEN + 'expires = "soon"', "tokens.0.expires: "),
        (TOKEN.replace('"o"', '"*"'), "tokens.0: org: `*` needs the permission `admin`"),
        (TOKEN.replace('name = "t"\n', ""), "tokens.0.name: Field required"),
        (TOKEN + TOKEN.replace(SHA, "b" * 64), "two tokens have the same name: 't'"),
        (TOKEN + TOKEN.replace('"t"', '"u"').replace(SHA, SHA.upper()), "two tokens have the same sha256: 'u'"),
        ("a = 1\nb == 2", "at line 2, column 4"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    found = wrong(text)
    assert said in found
    assert "keytrail.toml" in found


def test_all_that_is_wrong_is_named_at_once() -> None:
    found = wrong('page_size = 0\n[server]\nport = "x"\n[store]\nreaders = 0').splitlines()
    assert [line.split(": ")[1] for line in found] == ["page_size", "server.port", "store.readers"]


def test_no_value_is_repeated() -> None:
    password = "hunter2"
    assert password not in wrong(f'[store]\nurl = "mysql://u:{password}@h/d"')
    assert password not in wrong(f'[server]\nsecret = ["{password}"]')
    Path("keytrail.toml").write_text(
        f'[server]\nsecret = "{password}"\n[store]\nurl = "clickhouse://u:{password}@h/d"\n'
        f'[redis]\nurl = "redis://:{password}@h"\n',
        encoding="utf-8",
    )
    assert password not in repr(load())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("KEYTRAIL_PORT", "1", "environment variable KEYTRAIL_PORT: unknown setting"),
        ("KEYTRAIL_SERVER__PORTS", "1", "environment variable KEYTRAIL_SERVER__PORTS: unknown setting"),
        ("KEYTRAIL_SERVER_PORT", "1", "environment variable KEYTRAIL_SERVER_PORT: unknown setting"),
        ("KEYTRAIL_SERVER__PORT__X", "1", "environment variable KEYTRAIL_SERVER__PORT__X: unknown setting"),
        ("KEYTRAIL_TIMEZONE__X", "1", "environment variable KEYTRAIL_TIMEZONE__X: unknown setting"),
        ("keytrail_tiem", "1", "environment variable keytrail_tiem: unknown setting"),
        ("KEYTRAIL_SERVER__PORT", "eighty", "server.port: Input should be a valid integer"),
        ("KEYTRAIL_TOKENS", "[{", "environment: "),
    ],
)
def test_wrong_variable(name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load()
    assert said in str(caught.value)


def test_who_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("keytrail.toml").write_text("page_size = 1\n[server]\nport = 1\nthreads = 1\n[store]\nreaders = 1\n")
    monkeypatch.setenv("KEYTRAIL_SERVER__PORT", "2")
    monkeypatch.setenv("KEYTRAIL_SERVER__THREADS", "2")
    monkeypatch.setenv("keytrail_privacy__headers", '["X-A", "Host"]')
    # Belongs to the command line, and is no setting.
    monkeypatch.setenv("KEYTRAIL_CLI_TOKEN", "t")
    found = load(overrides={"server.port": 3})
    assert (found.page_size, found.server.port, found.server.threads, found.store.readers) == (1, 3, 2, 1)
    assert found.privacy.headers == ["x-a", "host"]


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, user, named = (tmp_path / name for name in ("system", "user", "named.toml"))
    monkeypatch.setattr(platformdirs, "site_config_dir", lambda name: str(system / name))
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda name: str(user / name))
    assert load().page_size == Settings.model_fields["page_size"].default
    sizes = []
    for size, folder in enumerate((user / "keytrail", system / "keytrail", tmp_path), start=1):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "keytrail.toml").write_text(f"page_size = {size}")
        sizes.append(load().page_size)
    assert sizes == [1, 2, 3]
    named.write_text("page_size = 4")
    assert load(named).page_size == 4
    with pytest.raises(ConfigError, match=r"missing\.toml: no such file"):
        load(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="is no file"):
        load(tmp_path)


def test_tokens_of_a_file() -> None:
    Path("keytrail.toml").write_text(TOKEN + 'expires = 2027-12-31\napis = ["a"]\npermissions = ["logs"]\n')
    (token,) = load().tokens
    assert (token.name, token.org, token.expires) == ("t", "o", date(2027, 12, 31))
    assert (token.apis, token.permissions) == (["a"], ["logs"])


def test_every_setting_is_documented() -> None:
    text = FILE.read_text(encoding="utf-8")
    missing = [name for name in names() if f"| `{name}` |" not in text]
    assert not missing
    assert all("|  |" not in line for line in text.splitlines()), "a setting without a meaning"
    assert text == page(), "python -m tests.settings_table writes it again"


def test_the_example_is_good() -> None:
    example = FILE.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    Path("keytrail.toml").write_text(example, encoding="utf-8")
    found = load()
    assert (found.timezone, found.tokens[0].name) == ("Europe/Berlin", "ops")


def test_zones_are_those_of_the_pinned_package_whoever_asks_first(tmp_path: Path) -> None:
    """A command reads its settings before it reaches for records, and the system's zones are of another version."""
    (tmp_path / "Europe").mkdir()
    new_york = resources.files("tzdata").joinpath("zoneinfo", "America", "New_York").read_bytes()
    (tmp_path / "Europe" / "Berlin").write_bytes(new_york)
    code = (
        "from keytrail.config import load; load(overrides={'timezone': 'Europe/Berlin'}); "
        "from keytrail.query.ranges import text; print(text(0, 'Europe/Berlin'))"
    )
    variables = {**os.environ, "PYTHONTZPATH": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], env=variables, check=True, capture_output=True, text=True)
    assert ran.stdout == "1970-01-01T01:00:00.000+01:00\n"
