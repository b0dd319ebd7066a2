"""Checks of settings that are more than a number. No message repeats a value."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from urllib.parse import urlsplit

from pydantic import SecretStr
from pydantic_core import PydanticCustomError

from meshmetrics.settings import connection_string
from meshmetrics.settings.connection_string import ConnectionStringError


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("setting", message)


def http_url(text: str) -> str:
    """An http(s) URL, without a trailing slash."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.username:
        raise _wrong("is not an http:// or https:// URL")
    return text.rstrip("/")


def secret_keys(keys: SecretStr) -> SecretStr:
    """Secret keys, separated by commas."""
    for part in keys.get_secret_value().split(","):
        key = part.strip()
        if not re.fullmatch(r"[!-~]+", key):
            raise _wrong(
                "has characters that no key has" if key else "has an empty key in its list"
            )
        if key.startswith("sb_publishable_") or _jwt_role(key) in ("anon", "authenticated"):
            raise _wrong("is a public key, but the daemon needs a secret one")
    return keys


def public_key(key: str) -> str:
    """A public key: every browser receives it."""
    if not re.fullmatch(r"[!-~]+", key):
        raise _wrong("has characters that no key has")
    if key.startswith("sb_secret_") or _jwt_role(key) not in (None, "anon"):
        raise _wrong("is a secret key, but every browser would receive it")
    return key


def runs_url(text: str) -> str:
    """A template of links into MeshHook: no `javascript:` and the like, and no other host."""
    # Browsers read a backslash as a slash: /\\host leads away as //host does.
    if not re.fullmatch(r"(https?://[^\s/\\]+)?/[^\s\\]*", text) or text.startswith("//"):
        raise _wrong("is neither an http:// or https:// URL nor a path")
    known = {"workflow_id", "slug", "project_id", "status"}
    names = set(re.findall(r"{([^{}]*)}", text))
    if not names & {"workflow_id", "slug"} or not names <= known:
        raise _wrong("has neither {workflow_id} nor {slug}, or has an unknown {name}")
    return text


def _jwt_role(token: str) -> object:
    """The role that a JWT claims; None for anything else."""
    try:
        _, claims, _ = token.split(".")
        decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return decoded.get("role")
    except (ValueError, AttributeError):
        return None


def database_url(url: SecretStr) -> SecretStr:
    """A connection string that the database's driver can be given."""
    try:
        connection_string.read(url.get_secret_value())
    except ConnectionStringError as error:
        raise _wrong(str(error)) from None
    return url


def jwt_secret(secret: SecretStr) -> SecretStr:
    """Long enough to be a secret."""
    if len(secret.get_secret_value()) < 16:
        raise _wrong("is too short for a JWT secret")
    return secret


def bearer_token(token: SecretStr) -> SecretStr:
    """A token that fits into a header."""
    if not re.fullmatch(r"[!-~]{8,}", token.get_secret_value()):
        raise _wrong("is too short, or has characters that a header cannot have")
    return token


def origins(text: str) -> str:
    """Origins as browsers send them, separated by commas, without spaces."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    for origin in found:
        if not re.fullmatch(
            r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?", origin
        ):
            raise _wrong(
                "is not a list of origins: scheme, host and port, in lower case, without a path"
            )
    return ",".join(found)


def fernet_keys(keys: SecretStr) -> SecretStr:
    """One Fernet key or more."""
    for key in keys.get_secret_value().split(","):
        if not re.fullmatch(r"[A-Za-z0-9_-]{43}=", key.strip()):
            raise _wrong("is not a Fernet key: 32 random bytes in URL-safe base64, 44 characters")
    return keys


def ports(text: str) -> str:
    """Port numbers, separated by commas."""
    for part in text.split(","):
        if not (part.strip().isdecimal() and 0 < int(part) < 65536):
            raise _wrong("is not a list of port numbers")
    return text


def networks(text: str) -> str:
    """Networks, separated by commas."""
    try:
        for part in text.split(","):
            ipaddress.ip_network(part.strip())
    except ValueError:
        raise _wrong("is not a list of networks") from None
    return text


def smtp_url(url: SecretStr) -> SecretStr:
    """A mail server."""
    try:
        parts = urlsplit(url.get_secret_value())
        valid = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise _wrong("is not an smtp:// or smtps:// URL")
    return url
