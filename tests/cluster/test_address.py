import pytest

from keytrail.errors import ConfigError
from keytrail.store.address import parse_address


def test_everything_that_a_url_may_have() -> None:
    found = parse_address("clickhouse://us%40er:p%3Aa%2Fss%23@a.test:9,[::1]:8,c.test/stats?secure=true")
    assert found.hosts == (("a.test", 9), ("::1", 8), ("c.test", 8443))
    assert (found.user, found.password, found.database, found.secure) == ("us@er", "p:a/ss#", "stats", True)


def test_what_is_left_out() -> None:
    found = parse_address("clickhouse://a.test")
    assert found.hosts == (("a.test", 8123),)
    assert (found.user, found.password, found.database, found.secure) == ("default", "", "keytrail", False)


def test_the_password_may_stand_apart() -> None:
    assert parse_address("clickhouse://ada@a.test", "s3cret").password == "s3cret"


def test_people_see_neither_user_nor_password() -> None:
    found = parse_address("clickhouse://ada:s3cret@a.test,[::1]:8/stats")
    assert str(found) == "clickhouse://a.test:8123,[::1]:8/stats"
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("clickhouse://", "'' is no host"),
        ("clickhouse://a.test,/x", "'' is no host"),
        ("clickhouse://a.test:0", "'a.test:0' is no host with a port"),
        ("clickhouse://a.test:70000", "'a.test:70000' is no host with a port"),
        ("clickhouse://a.test:x/y", "'a.test:x' is no host with a port"),
        ("clickhouse://[::1/y", "Invalid IPv6 URL"),
        ("clickhouse://[::1]x:1/y", "'[::1]x:1' is no host"),
        ("clickhouse://x[::1]:1/y", "'x[::1]:1' is no host"),
        ("clickhouse://a.test/a-b", "the database 'a-b' must be"),
        ("clickhouse://a.test/x?secure=perhaps", "secure must be true or false, not 'perhaps'"),
        ("clickhouse://a.test/x?compress=1", "the parameter 'compress' is not known"),
        ("clickhouse://ada:s3#cret@a.test/x", "has a #"),
    ],
)
def test_a_wrong_url_names_what_is_wrong(url: str, what: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_address(url)
    assert what in str(told.value)
    assert "s3" not in str(told.value)


def test_two_passwords_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"store\.password is set too"):
        parse_address("clickhouse://ada:one@a.test", "two")
