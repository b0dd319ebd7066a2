"""DATABASE_URL as other tools write it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from asyncpg import connect_utils
from hypothesis import given
from hypothesis import strategies as st

from meshmetrics.settings.connection_string import ConnectionStringError, read
from meshmetrics.settings.fields import DatabaseSettings
from meshmetrics.settings.load import SettingsError, load_settings

URL = "postgresql://u:p@h:5432/d"


def password_of(dsn: str) -> str | None:
    """The password that the driver finds in a connection string."""
    parse = connect_utils._parse_connect_dsn_and_args  # type: ignore[attr-defined]
    _, found = parse(
        dsn=dsn, host=None, port=None, user=None, password=None, passfile=None, database=None,
        ssl=None, service=None, servicefile=None, direct_tls=None, server_settings=None,
        target_session_attrs=None, krbsrvname=None, gsslib=None,
    )  # fmt: skip
    password: str | None = found.password
    return password


@pytest.mark.parametrize(
    ("text", "dsn"),
    [
        ("postgres://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql+asyncpg://u:p@h/d", "postgresql://u:p@h/d"),
        ('"postgresql://u:p@h/d"', "postgresql://u:p@h/d"),
        (f"{URL}?pgbouncer=true", URL),
        (f"{URL}?connect_timeout=10&channel_binding=require&connection_limit=1&schema=public", URL),
        (f"{URL}?sslmode=require&supa=base-pooler.x", f"{URL}?sslmode=require"),
        (f"{URL}?sslmode=no-verify", f"{URL}?sslmode=require"),
        (f"{URL}?ssl=true", f"{URL}?sslmode=require"),
        ("host=h port=5432 user=u password='p' dbname=d", URL),
        ("host=/tmp/x user=u dbname=d", "postgresql://u@/d?host=%2Ftmp%2Fx"),
        ("postgresql:///d?host=/tmp/x&port=5433", "postgresql:///d?host=%2Ftmp%2Fx&port=5433"),
        ("postgresql://u:p@[2001:db8::1]:5432/d", "postgresql://u:p@[2001:db8::1]:5432/d"),
        ("postgresql://u:p@a:1,b:2/d", "postgresql://u:p@a:1,b:2/d"),
    ],
)
def test_what_other_tools_write_is_understood(text: str, dsn: str) -> None:
    assert read(text).dsn == dsn


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresql://u:[YOUR-PASSWORD]@h/d", "[YOUR-PASSWORD]"),
        ("jdbc:postgresql://h/d", "write postgresql://user:password@host:port/database"),
        ("https://abc.supabase.co", "write postgresql://user:password@host:port/database"),
        (f"{URL}?sslmod=require", "unknown parameter sslmod; did you mean sslmode?: leave it out"),
        (f"{URL}?statement_timeout=1", "unknown parameter statement_timeout"),
        (f"{URL}?sslmode=yes", "has an unknown sslmode: it is one of disable, allow"),
        (f"{URL}?schema=other", "has a parameter schema that is not public"),
        ("postgresql://u:p@h:port/d", "its port is not a number"),
        ("postgresql://u:p@h:0/d", "its port is not a number"),
        ("postgresql://u:p@h h/d", "is not a valid URL"),
        ("", "does not start with postgresql://"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ConnectionStringError) as refused:
        read(text)
    assert said in str(refused.value)


def test_each_parameter_that_is_ignored_is_noted() -> None:
    notes = read(f"{URL}?connect_timeout=10&channel_binding=require&sslmode=no-verify").notes
    assert [note.split(":")[0].split(" of ")[0] for note in notes] == [
        "the parameter connect_timeout",
        "the parameter channel_binding",
        "sslmode=no-verify",
    ]
    assert read(f"{URL}?sslmode=require&pgbouncer=true").notes == ()


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (URL, False),
        ("postgresql://u:p@h:6543/d", True),
        (f"{URL}?pgbouncer=true", True),
        (f"{URL}?pgbouncer=false", False),
        ("host=h port=6543", True),
    ],
)
def test_a_transaction_pooler_is_recognized(text: str, is_one: bool) -> None:
    assert read(text).transaction_pooler is is_one


@given(st.text(st.characters(min_codepoint=33, max_codepoint=255), min_size=1).filter(str.strip))
def test_every_encoded_password_reaches_the_driver(password: str) -> None:
    found = read(f"postgresql://u:{quote(password, safe='')}@h:5432/d")
    assert (found.password, password_of(found.dsn), found.hosts) == (password, password, ("h",))


@pytest.mark.parametrize(
    "password",
    [
        "p@ss",
        "@",
        "p@ss@",
        "p@a/s",
        "p@a?s",
        "a:b@c",
        "a/b",
        "a/b@c",
        "a?b=c@d",
        "a#b",
        "100%",
        "%zz",
        "[x]",
    ],
)
def test_a_password_with_bare_special_characters_reaches_the_driver(password: str) -> None:
    found = read(f"postgresql://u:{password}@db.example.org:5432/d?sslmode=disable")
    assert (password_of(found.dsn), found.hosts) == (password, ("db.example.org",))


def test_no_password_is_taken_for_a_parameter_and_shown() -> None:
    with pytest.raises(ConnectionStringError) as refused:
        read("postgresql://u@h/d?hunter 2=x")
    assert "hunter" not in str(refused.value)


@pytest.fixture
def env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`.env` in an otherwise empty directory, and no DATABASE_URL in the environment."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


def test_a_reference_to_a_variable_that_is_set_is_replaced(env_file: Path) -> None:
    env_file.write_text("PASS=secret\nDATABASE_URL=postgresql://u:${PASS}@h/d\n")
    assert load_settings(DatabaseSettings).connection.password == "secret"


@pytest.mark.parametrize(("reference", "shown"), [("${x}", "${x}"), ("${a b}", "${…}")])
def test_a_reference_to_nothing_ends_the_start(env_file: Path, reference: str, shown: str) -> None:
    env_file.write_text(f"DATABASE_URL='postgresql://u:p{reference}@h/d'\n")
    with pytest.raises(SettingsError) as refused:
        load_settings(DatabaseSettings)
    assert str(refused.value).startswith(
        f"DATABASE_URL in .env refers to {shown}, which is not set"
    )
    assert "%24" in str(refused.value)


def test_an_encoded_dollar_is_a_dollar(env_file: Path) -> None:
    env_file.write_text("DATABASE_URL=postgresql://u:p%24{x}@h/d\n")
    assert load_settings(DatabaseSettings).connection.password == "p${x}"
