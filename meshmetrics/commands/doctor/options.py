"""Checks of the optional parts: on, or off with the setting that switches it on."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from meshmetrics.api.http.jwks import TIMEOUT, jwks_url, usable_keys
from meshmetrics.commands.doctor.check import Check, State, advised
from meshmetrics.runtime.logs import describe
from meshmetrics.settings.fields import Settings

FERNET = "32 random bytes in URL-safe base64; docs/operations.md has the command that makes one"


async def checks(settings: Settings, http: httpx.AsyncClient) -> list[Check]:
    """One check per optional part."""
    return [
        *_sign_in(settings),
        await _tokens(settings, http),
        *_alerts(settings),
        *_links(settings),
    ]


def _sign_in(s: Settings) -> Iterator[Check]:
    yield advised(
        "sign-in",
        s.supabase_publishable_key is not None,
        "the dashboard signs users in",
        "off",
        "set SUPABASE_PUBLISHABLE_KEY to the project's publishable key",
    )


async def _tokens(s: Settings, http: httpx.AsyncClient) -> Check:
    """Whether users' tokens can be checked: by the project's public keys, or its legacy secret."""
    name, secret = "token checking", s.supabase_jwt_secret is not None
    try:
        response = await http.get(jwks_url(s.supabase_url), timeout=TIMEOUT)
        response.raise_for_status()
        count = len(usable_keys(response.json()["keys"]))
        problem = "the project publishes no signing keys"
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        count, problem = 0, f"the project's signing keys cannot be fetched ({describe(error)})"
    by = [f"{count} public keys of the project"] if count else []
    by += ["SUPABASE_JWT_SECRET"] if secret else []
    if by:
        return Check(name, "ok", f"users' tokens are checked by {' and '.join(by)}")
    fix = (
        "switch to JWT signing keys in Supabase (Project Settings → JWT Keys), or set"
        " SUPABASE_JWT_SECRET to the legacy secret"
    )
    # Without sign-in the API may be unused, so an unchecked token is only a note.
    state: State = "note" if s.supabase_publishable_key is None else "wrong"
    return Check(name, state, f"off: {problem}", fix)


def _alerts(s: Settings) -> Iterator[Check]:
    yield advised(
        "alert channels",
        s.alert_keys is not None,
        "incidents are sent to channels",
        "off",
        f"set MESHMETRICS_ALERT_KEYS to a Fernet key: {FERNET}",
    )
    yield advised(
        "e-mail",
        s.smtp_url is not None and (s.public_url or s.dashboard_url) is not None,
        f"sent as {s.smtp_from}",
        "off",
        "set MESHMETRICS_SMTP_URL to your mail server, MESHMETRICS_SMTP_FROM, and"
        " MESHMETRICS_PUBLIC_URL to where recipients reach this server",
    )


def _links(s: Settings) -> Iterator[Check]:
    yield advised(
        "dashboard links",
        s.dashboard_url is not None,
        f"alerts link to {s.dashboard_url}",
        "off",
        "set MESHMETRICS_DASHBOARD_URL to where users open the dashboard",
    )
    yield advised(
        "run links",
        s.runs_url is not None,
        "the dashboard links to MeshHook's runs",
        "off",
        "set MESHMETRICS_RUNS_URL to where MeshHook lists a workflow's runs",
    )
