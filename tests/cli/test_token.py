from collections.abc import Callable
from pathlib import Path

import pytest

from keytrail.config import load
from keytrail.errors import NotAuthorised
from keytrail.web.auth import Gate
from tests.cli.command import Ran

Keytrail = Callable[..., Ran]
NARROW = ["--key", "s3cret", "--key", "0cf682d6", "--oauth-client", "c1", "--consumer", "acme"]


def test_the_entry_lets_the_token_in(keytrail: Keytrail, tmp_path: Path) -> None:
    file = tmp_path / "keytrail.toml"
    # As a user would add it: to a file whose last line has no end.
    file.write_text('timezone = "UTC"', encoding="utf-8")
    tokens = []
    for options in (
        ["--org", "o1"],
        ["--org", 'o"2\\', "--permission", "ingest", "--permission", "logs", "--api", "a1", *NARROW, "--name", "é 'x'"],
    ):
        ran = keytrail("token", "create", *options)
        assert ran.status == 0
        with file.open("a", encoding="utf-8") as out:
            out.write(ran.out)
        tokens.append(ran.err.split("shown only now: ")[1].split()[0])
        assert tokens[-1] not in ran.out
    gate = Gate(load(file).tokens, "secret")
    first, second = (gate.bearer(f"Bearer {token}") for token in tokens)
    assert (first.scope.org, first.scope.apis, first.permissions) == ("o1", None, frozenset({"analytics"}))
    assert (second.scope.org, second.scope.apis) == ('o"2\\', frozenset({"a1"}))
    # printf s3cret | sha256sum; the other, too, might be a secret.
    hashed = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0"
    assert second.scope.keys is not None
    assert {"s3cret", hashed, "0cf682d6"} <= second.scope.keys
    assert (second.scope.oauth_clients, second.scope.consumers) == (frozenset({"c1"}), frozenset({"acme"}))
    assert (first.scope.keys, first.scope.oauth_clients, first.scope.consumers) == (None, None, None)
    assert (second.name, second.permissions) == ("é 'x'", frozenset({"ingest", "logs"}))
    with pytest.raises(NotAuthorised):
        gate.bearer(f"Bearer {tokens[0]}x")


def test_every_token_is_another(keytrail: Keytrail) -> None:
    assert len({keytrail("token", "create", "--org", "o").err for _ in range(5)}) == 5


@pytest.mark.parametrize("options", [[], ["--org", "*"], ["--org", "o", "--permission", "all"]])
def test_wrong_usage(keytrail: Keytrail, options: list[str]) -> None:
    ran = keytrail("token", "create", *options)
    assert (ran.status, ran.out) == (2, "")


def test_all_organisations_need_admin(keytrail: Keytrail) -> None:
    assert 'org = "*"' in keytrail("token", "create", "--org", "*", "--permission", "admin").out
