from __future__ import annotations

import pytest

from keytrail.collect.redis_url import RedisTarget, parse_redis_url
from keytrail.errors import AccessDenied, RedisUrlError, SourceUnavailable
from tests.collect.redis_servers import Server, Servers, connect
from tests.ports import free_port


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", RedisTarget("single", False, (("h", 6379),))),
        ("redis://127.0.0.1:7000/3", RedisTarget("single", False, (("127.0.0.1", 7000),), database=3)),
        ("redis://:p%40w@h/", RedisTarget("single", False, (("h", 6379),), password="p@w")),
        ("rediss://us%3Aer:p%2Fw:x@h:1", RedisTarget("single", True, (("h", 1),), "us:er", "p/w:x")),
        ("redis://[::1]:7/1", RedisTarget("single", False, (("::1", 7),), database=1)),
        ("redis://[fe80::2]", RedisTarget("single", False, (("fe80::2", 6379),))),
        (
            "redis+sentinel://u:p@a:1,b/main/2",
            RedisTarget("sentinel", False, (("a", 1), ("b", 26379)), "u", "p", 2, "main"),
        ),
        ("rediss+sentinel://a/my%20main", RedisTarget("sentinel", True, (("a", 26379),), service="my main")),
        ("redis+cluster://a:1,b:2,[::1]:3", RedisTarget("cluster", False, (("a", 1), ("b", 2), ("::1", 3)))),
        ("rediss+cluster://u:p@a/0", RedisTarget("cluster", True, (("a", 6379),), "u", "p")),
    ],
)
def test_urls(url: str, expected: RedisTarget) -> None:
    assert parse_redis_url(url) == expected


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("", "scheme"),
        ("localhost:6379", "scheme"),
        ("http://h", "scheme"),
        ("redis+ssl://h", "scheme"),
        ("redis://", "host"),
        ("redis://:p@:6379", "host"),
        ("redis://h:", "port"),
        ("redis://h:0", "port"),
        ("redis://h:65536", "port"),
        ("redis://h:٣", "port"),
        ("redis://h:6379x", "port"),
        ("redis://[::1", "host"),
        ("redis://[::1]6379", "host"),
        ("redis://a,b", "host"),
        ("redis://h/x", "database"),
        ("redis://h/-1", "database"),
        ("redis://h/1/2", "path"),
        ("redis://h?db=1", "query"),
        ("redis://@h", "user"),
        ("redis://u:p@w@h", "password"),
        ("redis+sentinel://a,b", "service"),
        ("redis+sentinel://a,b//1", "service"),
        ("redis+sentinel://a,,b/main", "host"),
        ("redis+sentinel://a/main/x", "database"),
        ("redis+cluster://a/1", "database"),
    ],
)
def test_bad_urls_name_the_part(url: str, part: str) -> None:
    with pytest.raises(RedisUrlError) as caught:
        parse_redis_url(url)
    assert caught.value.part == part
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:s3cret@h:x",
        "redis://u:s3c@s3cret@h",
        "redis://u:s3cret/@h",
        "redis://u:s3cret?@h",
        "redis://u:s3cret@h/x",
        "redis://u:12/s3cret@h",
        "redis+sentinel://u:s3cret@h",
    ],
)
def test_a_secret_is_never_shown(url: str) -> None:
    with pytest.raises(RedisUrlError) as caught:
        parse_redis_url(url)
    assert "s3c" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["redis://u:s3cret@h:1/2", "redis+sentinel://u:s3cret@a,b:2/main/1", "rediss+cluster://u:s3cret@[::1]:1"],
)
def test_repr_and_text_hide_the_password(url: str) -> None:
    target = parse_redis_url(url)
    assert "s3cret" not in repr(target) + str(target)
    assert parse_redis_url(str(target)).hosts == target.hosts


def test_connect_uses_the_database(redis_server: Server) -> None:
    with connect(parse_redis_url(f"redis://127.0.0.1:{redis_server.port}/3")) as client:
        client.set("here", b"\xff")
        assert client.get("here") == b"\xff"
    with redis_server.client() as other:
        assert other.get("here") is None


def test_connect_says_that_nobody_answers() -> None:
    with pytest.raises(SourceUnavailable):
        connect(parse_redis_url(f"redis://127.0.0.1:{free_port()}"), retries=0)


def test_connect_with_user_and_password(own_servers: Servers) -> None:
    server = own_servers.start()
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "u", "on", ">p@w", "~*", "+@all")
        admin.execute_command("ACL", "SETUSER", "default", "off")
    with connect(parse_redis_url(f"redis://u:p%40w@127.0.0.1:{server.port}")) as client:
        assert client.ping()
    for userinfo in ("", "u:wrong@"):
        with pytest.raises(AccessDenied) as caught:
            connect(parse_redis_url(f"redis://{userinfo}127.0.0.1:{server.port}"), retries=0)
        assert "wrong@" not in str(caught.value)
