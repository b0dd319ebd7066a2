"""A database that cannot be used: every command says why and what to write, and ends."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from meshmetrics.database import reachability
from meshmetrics.database.reachability import is_transaction_pooler, obstacle
from meshmetrics.settings.connection_string import read
from tests.commands.conftest import Command
from tests.daemon.conftest import World
from tests.daemon.process import environment, process
from tests.support.pgbouncer import pgbouncer

COMMANDS = (
    ("run",),
    ("migrate",),
    ("verify",),
    ("doctor",),
    ("statuses",),
    ("backfill",),
    ("uninstall", "--yes"),
)


def unreachable(url: str) -> list[tuple[str, str]]:
    """Connection strings that lead nowhere, and what is said about each."""
    return [
        ("postgresql://u:p@no-such-host.invalid/d", "the host no-such-host.invalid does not exist"),
        (f"postgresql://u:p@{'a' * 70}/d", "is not a host name"),
        (f"{url}?sslmode=require", "the server does not speak TLS"),
        (f"{url}?sslmode=verify-full&sslrootcert=/no/such/file", "sslrootcert"),
        (f"{url}?pgbounce=true", "unknown parameter pgbounce; did you mean pgbouncer?"),
        (f"{url}?schema=other", "a parameter schema that is not public"),
        (f"{url}?options=-c%20no_such=1", 'unrecognized configuration parameter "no_such"'),
    ]


@pytest.mark.parametrize("case", range(len(COMMANDS)), ids=[words[0] for words in COMMANDS])
async def test_every_command_ends_with_what_to_write(
    world: World, command: Command, case: int
) -> None:
    url, said = unreachable(world.database.dsn("postgres"))[case]
    result = await command(*COMMANDS[case], DATABASE_URL=url)
    assert result.status in (1, 2)
    assert said in result.out + result.err


@pytest.mark.parametrize("case", range(4))
async def test_a_connection_that_can_never_be_made_is_explained(world: World, case: int) -> None:
    url, said = unreachable(world.database.dsn("postgres"))[case]
    with pytest.raises((OSError, UnicodeError, asyncpg.ClientConfigurationError)) as failed:
        await asyncpg.connect(url)
    found = await obstacle(failed.value, read(url).hosts)
    assert found is not None
    assert said in found.text


async def test_what_other_tools_write_works_as_it_is(
    world: World, tmp_path: Path, login: str
) -> None:
    url = f"{login}?pgbouncer=true&connect_timeout=10&schema=public&channel_binding=prefer"
    env = environment(world.settings(), DATABASE_URL=url)
    async with process(tmp_path, env, "run", "--api-only") as daemon:
        await daemon.has_logged("database.ready")
        noted = [line["text"] for line in daemon.logged("settings.ignored")]
    assert [text.split(" of ")[0] for text in noted] == [
        "the parameter connect_timeout",
        "the parameter channel_binding",
    ]


async def test_a_transaction_pooler_on_any_port_is_noticed(
    world: World, command: Command, tmp_path: Path
) -> None:
    async with pgbouncer(world.database, "transaction") as dsn:
        assert await is_transaction_pooler(dsn)
        doctor = await command("doctor", "--json", DATABASE_URL=dsn)
        (check,) = [c for c in doctor.json["checks"] if c["check"] == "pooler"]
        assert (check["state"], check["fix"]) == ("wrong", "set MESHMETRICS_POOLER=transaction")
        env = environment(world.settings(migrate=False), DATABASE_URL=dsn)
        async with process(tmp_path, env, "run") as daemon:
            assert await daemon.ended() == 1
            assert "MESHMETRICS_POOLER=transaction" in daemon.everything()
    async with pgbouncer(world.database, "session", pool_size=10) as dsn:
        assert not await is_transaction_pooler(dsn)
    assert not await is_transaction_pooler(world.database.dsn("postgres"))


def no_ipv6(monkeypatch: pytest.MonkeyPatch, *families: socket.AddressFamily) -> None:
    """Every host has an address of these families; the machine knows no way to IPv6."""

    async def addresses(*_: object, **__: object) -> list[Any]:
        return [
            (family, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0)) for family in families
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses, raising=False)
    monkeypatch.setattr(reachability, "_has_route", lambda _: False)


async def test_a_host_with_ipv6_only_is_named_where_there_is_no_ipv6(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unreachable = OSError(101, "Network is unreachable")
    no_ipv6(monkeypatch, socket.AF_INET6)
    found = await obstacle(unreachable, ["db.abc.supabase.co"])
    assert found is not None
    assert found.text.startswith("db.abc.supabase.co has IPv6 addresses only")
    assert "session pooler" in found.text
    assert not found.may_pass
    no_ipv6(monkeypatch, socket.AF_INET6, socket.AF_INET)
    assert await obstacle(unreachable, ["db.abc.supabase.co"]) is None


async def test_a_server_that_may_come_back_is_waited_for() -> None:
    refused = ConnectionRefusedError(111, "Connection refused")
    assert await obstacle(refused, ["127.0.0.1"]) is None
    assert await obstacle(asyncpg.CannotConnectNowError("starting"), ["127.0.0.1"]) is None
    assert await obstacle(refused, ["/tmp"]) is None


async def test_an_option_that_the_server_does_not_know_is_named(world: World) -> None:
    url = world.database.dsn("postgres") + "?options=-c%20no_such=1"
    with pytest.raises(asyncpg.UndefinedObjectError) as failed:
        await asyncpg.connect(url)
    found = await obstacle(failed.value, read(url).hosts)
    assert found is not None
    assert "options" in found.text
    assert found.text.endswith("leave it out")


async def test_a_user_without_the_project_is_named_at_the_pooler() -> None:
    error = asyncpg.InternalServerError("Tenant or user not found")
    found = await obstacle(error, ["aws-0-eu-west-1.pooler.supabase.com"])
    assert found is not None
    assert "postgres.<project ref>" in found.text
