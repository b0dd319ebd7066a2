"""Reads DATABASE_URL as Supabase, Prisma, Vercel, SQLAlchemy and libpq write it.

The result is a URL that asyncpg understands, with notes about what was left out. No text repeats
a value: only names of parameters.
"""

from __future__ import annotations

import difflib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

DEFAULT_PORT: Final = 5432
TRANSACTION_PORT: Final = 6543
"""Supabase's transaction pooler."""
FORM: Final = "postgresql://user:password@host:port/database"

_PASSED: Final = frozenset(
    [
        "application_name",
        "database",
        "dbname",
        "gsslib",
        "host",
        "krbsrvname",
        "options",
        "passfile",
        "password",
        "port",
        "service",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
        "target_session_attrs",
        "user",
    ]
)
_SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_INSTEAD: Final = {
    "connect_timeout": "connecting may take 10 s",
    "connection_limit": "MESHMETRICS_POOL_SIZE sets it",
    "pool_size": "MESHMETRICS_POOL_SIZE sets it",
    "pool_timeout": "the daemon waits for its own connections",
    "channel_binding": "the driver authenticates without it",
}
_IGNORED: Final = (
    frozenset(
        [
            "client_encoding",
            "fallback_application_name",
            "gssencmode",
            "keepalives",
            "keepalives_count",
            "keepalives_idle",
            "keepalives_interval",
            "load_balance_hosts",
            "max_connection_lifetime",
            "max_idle_connection_lifetime",
            "prepareThreshold",
            "prepared_statements",
            "require_auth",
            "single_use_connections",
            "socket_timeout",
            "sslaccept",
            "sslcertmode",
            "sslcompression",
            "sslidentity",
            "sslsni",
            "statement_cache_size",
            "supa",
            "tcp_user_timeout",
            "uselibpqcompat",
            "workaround",
        ]
    )
    | _INSTEAD.keys()
)
_HOST: Final = r"(?:\[[0-9A-Fa-f:.]+(?:%25?[\w.-]+)?\]|(?:[A-Za-z0-9._-]|%2[Ff])+)?(?::[^:,/?@]*)?"
_AFTER_USER: Final = re.compile(
    rf"{_HOST}(?:,{_HOST})*(?:/[^/?@#]*)?(?:\?(?:[\w.-]*=[^&#]*(?:&|$))*)?"
)
_KEYWORD: Final = re.compile(r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)*)\s*")


class ConnectionStringError(ValueError):
    """What is wrong with the text and what to write instead; goes after the setting's name."""


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """A connection string that was understood."""

    dsn: str
    """For asyncpg."""
    password: str | None
    hosts: tuple[str, ...]
    """Names, addresses or directories of sockets."""
    transaction_pooler: bool
    """Whether it names a transaction pooler."""
    notes: tuple[str, ...]
    """What was left out, a sentence each."""


def read(text: str) -> ConnectionString:
    """Understand a connection string.

    Raises ConnectionStringError.
    """
    text = text.strip()
    for quotes in ('"', "'"):
        if len(text) > 1 and text[0] == text[-1] == quotes:
            text = text[1:-1]
    if "YOUR-PASSWORD" in text.upper():
        raise ConnectionStringError(
            "still has the placeholder [YOUR-PASSWORD]: write the password in its place, without"
            " the brackets"
        )
    if "://" not in text and _KEYWORD.match(text):
        text = _from_keywords(text)
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgres", "postgresql"):
        # SQLAlchemy names its driver: postgresql+asyncpg://
        raise ConnectionStringError(f"does not start with postgresql://: write {FORM}")
    user_info, location = _split(rest)
    user, colon, raw_password = user_info.partition(":")
    password = unquote(raw_password) if colon else None
    location, _, query = location.partition("?")
    authority, _, database = location.partition("/")
    hosts = _hosts(authority)
    parameters, notes, transaction_pooler = _parameters(query)
    in_query = parameters.get("host", "")
    all_hosts = [*hosts, *((host, None) for host in in_query.split(",") if host)]
    ports = {port for _, port in hosts} | set(parameters.get("port", "").split(","))
    dsn = "postgresql://"
    if user_info:
        dsn += quote(unquote(user), safe="")
        dsn += f":{quote(password, safe='')}@" if password is not None else "@"
    dsn += authority + (f"/{quote(unquote(database), safe='')}" if database or parameters else "")
    return ConnectionString(
        dsn + (f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""),
        password or parameters.get("password"),
        tuple(unquote(host) for host, _ in all_hosts),
        transaction_pooler or str(TRANSACTION_PORT) in ports,
        notes,
    )


def _split(rest: str) -> tuple[str, str]:
    """User and password, and what follows. Both are found although the password has an `@`, `/`,
    `?` or `#` that should have been written as %40, %2F, %3F or %23."""
    first = re.search(r"[/?#]", rest)
    authority = rest[: first.start()] if first else rest
    candidates = [authority.rfind("@")] if "@" in authority else []
    candidates += [found.start() for found in reversed(list(re.finditer("@", rest)))]
    if "@" not in rest:
        candidates = [-1]
    for at in candidates:
        if _AFTER_USER.fullmatch(rest, at + 1):
            return rest[: max(at, 0)], rest[at + 1 :]
    raise ConnectionStringError(
        f"is not a valid URL: write {FORM}, and special characters of the password %-encoded"
        " (@ as %40, / as %2F, # as %23, ? as %3F)"
    )


def _hosts(authority: str) -> list[tuple[str, str | None]]:
    """Hosts and ports, as they are written."""
    found: list[tuple[str, str | None]] = []
    for part in authority.split(",") if authority else ():
        match = re.fullmatch(r"(\[.*\]|[^:]*)(?::(.*))?", part)
        assert match is not None  # noqa: S101 - _AFTER_USER has matched it
        host, port = match.groups()
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ConnectionStringError(
                f"is not a valid URL, as its port is not a number from 1 to 65535: write {FORM}"
            )
        found.append((host.strip("[]"), port))
    return found


def _parameters(query: str) -> tuple[dict[str, str], tuple[str, ...], bool]:
    """The parameters for the driver, notes about the others, and whether they name a transaction
    pooler."""
    passed: dict[str, str] = {}
    notes: list[str] = []
    pooler = False
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "pgbouncer":
            pooler = pooler or value.lower() in ("true", "1", "yes")
        elif name == "schema":
            if value != "public":
                raise ConnectionStringError(
                    "has a parameter schema that is not public, where MeshHook's tables are:"
                    " leave it out"
                )
        elif name == "ssl" and value.lower() in ("true", "1", "false", "0", "require"):
            passed.setdefault(
                "sslmode", "disable" if value.lower() in ("false", "0") else "require"
            )
        elif name == "sslmode":
            passed["sslmode"] = _sslmode(value, notes)
        elif name in _IGNORED:
            reason = _INSTEAD.get(name, "it is not meshmetrics' or has no effect here")
            notes.append(f"the parameter {name} of DATABASE_URL is ignored: {reason}")
        elif name in _PASSED:
            passed[name] = value
        elif name:
            raise ConnectionStringError(_unknown(name))
    if passed.get("sslrootcert") == "system":  # libpq's word for the machine's own certificates
        file = ssl.get_default_verify_paths().cafile
        if file is None:
            raise ConnectionStringError(
                "has sslrootcert=system, but this machine has no file of certificates: name one"
            )
        passed["sslrootcert"] = file
        passed.setdefault("sslmode", "verify-full")
    return passed, tuple(notes), pooler


def _sslmode(value: str, notes: list[str]) -> str:
    if value == "no-verify":  # node-postgres
        notes.append("sslmode=no-verify of DATABASE_URL is taken for sslmode=require")
        return "require"
    if value not in _SSLMODES:
        raise ConnectionStringError(f"has an unknown sslmode: it is one of {', '.join(_SSLMODES)}")
    return value


def _unknown(name: str) -> str:
    if not re.fullmatch(r"\w{1,40}", name):  # perhaps a part of the password
        return "has a parameter that is not a name: leave it out"
    near = difflib.get_close_matches(name, sorted(_PASSED | _IGNORED | {"pgbouncer"}), n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"has the unknown parameter {name}{meant}: leave it out"


def _from_keywords(text: str) -> str:
    """The URL for `host=… user=…`, as libpq takes it."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _KEYWORD.match(text, position)
        if match is None or match.end() == position:
            raise ConnectionStringError(f"is not a valid connection string: write {FORM}")
        name, value = match.groups()
        if value.startswith("'"):
            value = value[1:-1]
        found[name] = re.sub(r"\\(.)", r"\1", value)
        position = match.end()
    return _url(found)


def _url(found: Mapping[str, str]) -> str:
    own = ("user", "password", "host", "port", "dbname")
    user, password, host, port, database = (found.get(name, "") for name in own)
    rest = {name: value for name, value in found.items() if name not in own}
    url = "postgresql://"
    if user or password:
        url += quote(user, safe="") + (f":{quote(password, safe='')}" if password else "") + "@"
    if "," in host or host.startswith("/"):
        rest |= {"host": host} | ({"port": port} if port else {})
    else:
        url += (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    url += f"/{quote(database, safe='')}"
    return url + (f"?{urlencode(rest, quote_via=quote)}" if rest else "")
