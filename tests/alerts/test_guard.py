"""Where requests go, and where they never go."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meshmetrics.alerts.exchange import ANSWER_BYTES, BODY_BYTES
from meshmetrics.alerts.outbound import Guard, RefusedError, Rules
from meshmetrics.alerts.resolver import MAX_OF_DOMAIN, Resolver
from tests.alerts.receiver import receiving

HOSTILE = [
    "http://example.com/",  # not https
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com:443/",
    "//example.com/",
    "https://",
    "https:///path",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",  # 127.0.0.1 in decimal
    "https://0177.0.0.1/",  # in octal
    "https://0x7f.0.0.1/",
    "https://0x7f000001/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.5.4/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",  # carrier-grade NAT
    "https://100.100.100.200/",  # a metadata service in it
    "https://169.254.169.254/latest/meta-data/",
    "https://168.63.129.16/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[ff02::1]/",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com@127.0.0.1/",
    "https://@example.com/",
    "https://example.com:22/",
    "https://example.com:8080/",
    "https://example.com:99999/",
    "https://example.com:0/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com /",
    "https://exam\nple.com/",
    "https://ⓔxample.com/",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_url_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(RefusedError) as refused:
        Guard().check(url)
    assert len(str(refused.value)) > 10


def test_a_host_in_punycode_is_taken() -> None:
    assert Guard().check("https://xn--bcher-kva.example/hook").host == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1", "100.64.1.1", "fd00::1"],
)
async def test_a_name_that_resolves_to_a_private_address_is_refused(address: str) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["93.184.215.14", address]

    with pytest.raises(RefusedError, match="not at a public address") as refused:
        await Guard(resolve=resolve).post("https://example.com/", b"", {})
    assert address not in str(refused.value)  # it would map the operator's network


async def test_the_connection_is_made_to_the_address_that_was_checked() -> None:
    """Rebinding: the second answer is another one, and nobody asks for it."""
    async with receiving() as receiver:
        port = int(receiver.url.split(":")[2].split("/")[0])
        answers = [["127.0.0.1"], ["10.0.0.1"]]
        asked = []

        async def resolve(host: str, port: int) -> Sequence[str]:
            asked.append(host)
            return answers.pop(0)

        guard = Guard(allowing(port), resolve=resolve)
        answer = await guard.post(receiver.url, b"{}", {"webhook-id": "1"})
    assert (answer.status, asked) == (200, ["hooks.test"])
    headers, body = receiver.got[0]
    assert headers["Host"] == f"hooks.test:{port}"
    assert body == b"{}"
    assert {name.lower() for name in headers} <= {
        *("host", "user-agent", "accept-encoding", "content-length", "webhook-id"),
        *("accept", "connection"),
    }


async def test_a_redirect_is_not_followed_and_little_of_an_answer_is_read() -> None:
    async with receiving() as receiver:
        receiver.answers = [
            web.Response(status=302, headers={"Location": receiver.url}),
            web.Response(status=500, text="x" * 1_000_000),
        ]
        guard = local_guard(receiver.url)
        assert (await guard.post(receiver.url, b"", {})).status == 302
        answer = await guard.post(receiver.url, b"", {})
    assert len(receiver.got) == 2
    assert len(answer.excerpt) == BODY_BYTES


async def test_a_receiver_that_drips_is_given_up() -> None:
    async with receiving() as receiver:

        async def drip(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b".")
                await asyncio.sleep(0.02)

        receiver.answers = [drip]
        guard = local_guard(receiver.url, timeout=0.3)
        with pytest.raises(TimeoutError):
            await guard.post(receiver.url, b"", {})


@asynccontextmanager
async def speaking(*pieces: bytes, endless: bool = False) -> AsyncIterator[tuple[str, list[int]]]:
    """A receiver that writes these bytes whatever it is asked, again and again where `endless`. Its
    URL, and how many bytes it could write."""
    written = [0]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            while True:
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    written[0] += len(piece)
                if not endless:
                    break
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://hooks.test:{server.sockets[0].getsockname()[1]}/", written


INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_interim_answers_without_end_end_the_attempt_at_once() -> None:
    async with speaking(INTERIM * 1000, endless=True) as (url, _):
        began = time.monotonic()
        with pytest.raises(ConnectionError, match="without end"):
            await local_guard(url).post(url, b"", {})
    assert time.monotonic() - began < 1


async def test_one_interim_answer_is_passed_over() -> None:
    async with speaking(INTERIM, OK) as (url, _):
        answer = await local_guard(url).post(url, b"", {})
    assert (answer.status, answer.excerpt) == (200, "ok")


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000,),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000,),
        (b"HTTP/1.1 200 " + b"y" * 1_000_000,),
        (b"\0" * 1_000_000,),
    ],
)
async def test_a_head_without_end_is_given_up(pieces: tuple[bytes, ...]) -> None:
    async with speaking(*pieces) as (url, _):
        with pytest.raises(ConnectionError):
            await local_guard(url).post(url, b"", {})


async def test_no_more_than_64_kb_are_read_whatever_frames_the_body() -> None:
    """Chunks of nothing but extensions: framing that never becomes a body."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"1;" + b"e" * 4000 + b"\r\nx\r\n"
    async with speaking(head + chunk * 1000) as (url, _):
        answer = await local_guard(url).post(url, b"", {})
    assert answer.status == 200
    assert 0 < len(answer.excerpt) <= ANSWER_BYTES / 4000


async def test_a_name_that_hangs_delays_no_other() -> None:
    release = threading.Event()

    def lookup(host: str, port: int) -> Sequence[str]:
        if host.startswith("hangs"):
            release.wait(10)
        return ["192.0.2.1"]

    resolver = Resolver(lookup, seconds=0.3)
    hanging = [asyncio.create_task(resolver(f"hangs.{n}.test", 443)) for n in range(40)]
    await asyncio.sleep(0)
    began = time.monotonic()
    assert await resolver("quick.test", 443) == ["192.0.2.1"]
    assert time.monotonic() - began < 0.25
    failures = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(failure, TimeoutError) for failure in failures)
    release.set()


async def test_the_names_of_one_domain_have_a_share_of_the_lookups() -> None:
    release = threading.Event()

    def lookup(host: str, port: int) -> Sequence[str]:
        release.wait(10)
        return ["192.0.2.1"]

    resolver = Resolver(lookup, seconds=5)
    waiting = [
        asyncio.create_task(resolver(f"n{n}.evil.test", 443)) for n in range(MAX_OF_DOMAIN + 3)
    ]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 3
    assert {type(task.exception()) for task in done} == {ConnectionError}
    release.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await resolver("again.evil.test", 443) == ["192.0.2.1"]


async def test_the_authorities_are_read_once_and_not_for_each_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes 25 ms, in which nothing is counted; and alerts come in bursts."""
    read: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(*args: Any, **kwargs: Any) -> None:
        read.append(args)
        load(*args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    async with receiving() as receiver:
        guard = local_guard(receiver.url)
        for _ in range(3):
            await guard.post(receiver.url, b"", {})
    assert len(read) <= 1


@pytest.mark.parametrize(("name", "trusted"), [("hooks.test", True), ("other.test", False)])
async def test_a_certificate_has_to_be_for_the_name_in_the_url(
    name: str, trusted: bool, tmp_path: Path
) -> None:
    """The connection is made to an address; what is proven is the name."""
    certificate = self_signed(name, tmp_path)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_side) as server:
        port = server.sockets[0].getsockname()[1]
        guard = Guard(
            allowing(port),
            resolve=resolve,
            tls=ssl.create_default_context(cafile=str(certificate)),
        )
        if trusted:
            assert (await guard.post(f"https://hooks.test:{port}/", b"", {})).status == 204
        else:
            with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await guard.post(f"https://hooks.test:{port}/", b"", {})


def self_signed(name: str, directory: Path) -> Path:
    """A file with a key and a certificate for a host of that name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def allowing(port: int) -> Rules:
    """Rules that let the test's own receiver be reached."""
    loopback = ipaddress.ip_network("127.0.0.0/8")
    return Rules(http=True, ports=frozenset({port}), networks=(loopback,))


def local_guard(url: str, timeout: float = 5.0) -> Guard:
    """A guard that resolves every name to this machine."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    port = int(url.split(":")[2].split("/")[0])
    return Guard(allowing(port), resolve=resolve, timeout=timeout)
