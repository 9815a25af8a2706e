from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from keytrail.collect.redis_url import Tls, parse_redis_url
from keytrail.collect.source import Source
from keytrail.errors import SourceUnavailable
from tests.collect.conftest import PLAIN
from tests.collect.redis_servers import Server, connect, debian_redis, servers, wait_for
from tests.ports import free_port

pytestmark = pytest.mark.skipif(debian_redis() is None, reason="needs a redis-server with TLS")


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test authority", "-days", "2",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    for name, alternative in (
        ("server", "IP:127.0.0.1"),
        ("elsewhere", "DNS:elsewhere.test"),
        ("client", "DNS:c"),
    ):
        (folder / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
        openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")  # fmt: skip
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", f"{name}.crt", "-days", "2",
                "-extfile", f"{name}.ext")  # fmt: skip
    return folder


def start(started: object, folder: Path, certificate: str, clients: str) -> int:
    from tests.collect.redis_servers import Servers

    assert isinstance(started, Servers)
    port = free_port()
    server = started.start("--tls-port", str(port), "--tls-cert-file", str(folder / f"{certificate}.crt"),
                           "--tls-key-file", str(folder / f"{certificate}.key"),
                           "--tls-ca-cert-file", str(folder / "ca.crt"), "--tls-auth-clients", clients,
                           program=debian_redis())  # fmt: skip
    assert isinstance(server, Server)
    return port


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[dict[str, int]]:
    with servers(tmp_path_factory.mktemp("servers")) as started:
        yield {
            "open": start(started, certificates, "server", "no"),
            "mutual": start(started, certificates, "server", "yes"),
            "elsewhere": start(started, certificates, "elsewhere", "no"),
        }


def collects(port: int, tls: Tls) -> None:
    client = connect(parse_redis_url(f"rediss://127.0.0.1:{port}"), tls=tls)
    client.rpush(PLAIN, b"\xff")
    source = Source(client, name="t", owner="o", store_id="s")
    source.seal()
    batch = source.take()
    assert batch is not None
    assert source.read(batch) == [b"\xff"]
    assert source.advance(batch, 1) is None
    source.close()


def test_with_the_authority(ports: dict[str, int], certificates: Path) -> None:
    collects(ports["open"], Tls(ca_file=certificates / "ca.crt"))


def test_with_a_client_certificate(ports: dict[str, int], certificates: Path) -> None:
    ours = Tls(certificates / "ca.crt", certificates / "client.crt", certificates / "client.key")
    collects(ports["mutual"], ours)
    with pytest.raises(SourceUnavailable):
        connect(parse_redis_url(f"rediss://127.0.0.1:{ports['mutual']}"), tls=Tls(ours.ca_file), retries=0)


def test_refuses_what_it_can_not_verify(ports: dict[str, int], certificates: Path) -> None:
    for port, tls in [
        (ports["open"], None),
        (ports["elsewhere"], Tls(ca_file=certificates / "ca.crt")),
    ]:
        with pytest.raises(SourceUnavailable, match=r"(?i)certificate"):
            connect(parse_redis_url(f"rediss://127.0.0.1:{port}"), tls=tls, retries=0)


def test_without_verification(ports: dict[str, int]) -> None:
    collects(ports["elsewhere"], Tls(verify=False))


def test_a_plain_server_is_not_taken_for_a_tls_one(redis_server: Server) -> None:
    with pytest.raises(SourceUnavailable):
        connect(parse_redis_url(f"rediss://127.0.0.1:{redis_server.port}"), retries=0, timeout_seconds=1)


@pytest.mark.long
def test_sentinel_over_tls(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> None:
    with servers(tmp_path_factory.mktemp("servers")) as started:
        files = ["--tls-cert-file", str(certificates / "server.crt"), "--tls-key-file",
                 str(certificates / "server.key"), "--tls-ca-cert-file", str(certificates / "ca.crt"),
                 "--tls-auth-clients", "no", "--tls-replication", "yes"]  # fmt: skip
        port = start(started, certificates, "server", "no")
        folder = tmp_path_factory.mktemp("sentinel")
        listen = free_port()
        (folder / "sentinel.conf").write_text(
            f"port 0\ntls-port {listen}\ndir {folder}\nsentinel monitor main 127.0.0.1 {port} 1\n"
            + "".join(f"{name[2:]} {value}\n" for name, value in zip(files[::2], files[1::2], strict=True))
        )
        program = debian_redis()
        assert program is not None
        process = subprocess.Popen([program, str(folder / "sentinel.conf"), "--sentinel"], stdout=subprocess.DEVNULL)
        started.running.append(Server(listen, process, folder / "log"))
        tls = Tls(ca_file=certificates / "ca.crt")
        probe = redis.Redis(
            port=listen, ssl=True, ssl_ca_certs=str(certificates / "ca.crt"), protocol=2, host="127.0.0.1"
        )
        wait_for(lambda: bool(probe.ping()))
        probe.close()
        client = connect(parse_redis_url(f"rediss+sentinel://127.0.0.1:{listen}/main"), tls=tls)
        assert client.ping()
        client.close()
