"""The doctor's checks of the optional parts: on, or off with the setting that switches it on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from meshmetrics.commands.doctor.check import Check
from meshmetrics.commands.doctor.options import checks
from tests.daemon.conftest import JWT_SECRET, TestSettings

BASE = {
    "supabase_url": "http://project.test",
    "supabase_secret_key": "sb_secret_a",
    "database_url": "postgresql://u@h/d",
}
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "sign-in": ("SUPABASE_PUBLISHABLE_KEY", {"supabase_publishable_key": "sb_publishable_a"}),
    "alert channels": ("MESHMETRICS_ALERT_KEYS", {"alert_keys": "A" * 43 + "="}),
    "e-mail": (
        "MESHMETRICS_SMTP_URL",
        {"smtp_url": "smtps://u:p@mail.test:465", "public_url": "https://rates.test"},
    ),
    "dashboard links": ("MESHMETRICS_DASHBOARD_URL", {"dashboard_url": "https://rates.test"}),
    "run links": ("MESHMETRICS_RUNS_URL", {"runs_url": "/runs?workflow={workflow_id}"}),
}


def publishing(*keys: dict[str, Any]) -> Callable[[httpx.Request], httpx.Response]:
    """A project that publishes these signing keys."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url == "http://project.test/auth/v1/.well-known/jwks.json"
        return httpx.Response(200, json={"keys": keys})

    return answer


def away(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no route")


async def check_of(
    name: str,
    answer: Callable[[httpx.Request], httpx.Response] = away,
    **settings: Any,
) -> Check:
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        found = await checks(TestSettings.model_validate(BASE | settings), http)
    return {check.name: check for check in found}[name]


@pytest.fixture(scope="module")
def signing_key() -> dict[str, Any]:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    document: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(public))
    return {**document, "kid": "1", "alg": "ES256", "use": "sig"}


@pytest.mark.parametrize("name", OPTIONS)
async def test_what_is_off_says_which_setting_switches_it_on(name: str) -> None:
    variable, setting = OPTIONS[name]
    off = await check_of(name)
    assert (off.state, off.text) == ("note", "off")
    assert f"set {variable} to" in off.fix
    on = await check_of(name, **setting)
    assert (on.state, on.fix) == ("ok", "")


async def test_tokens_are_checked_by_published_keys_or_by_the_secret(
    signing_key: dict[str, Any],
) -> None:
    published = await check_of("token checking", publishing(signing_key))
    assert (published.state, published.text) == (
        "ok",
        "users' tokens are checked by 1 public keys of the project",
    )
    by_secret = await check_of("token checking", supabase_jwt_secret=JWT_SECRET)
    assert (by_secret.state, by_secret.fix) == ("ok", "")
    assert "SUPABASE_JWT_SECRET" in by_secret.text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (away, "cannot be fetched"),
        (publishing(), "publishes no signing keys"),
        (lambda _: httpx.Response(200, text="<html>"), "cannot be fetched"),
        (lambda _: httpx.Response(200, json=[]), "cannot be fetched"),
    ],
    ids=["away", "none", "no JSON", "a list"],
)
async def test_tokens_that_cannot_be_checked_are_wrong_where_users_sign_in(
    answer: Callable[[httpx.Request], httpx.Response], said: str
) -> None:
    unused = await check_of("token checking", answer)
    assert unused.state == "note"
    check = await check_of("token checking", answer, supabase_publishable_key="sb_publishable_a")
    assert check.state == "wrong"
    assert said in check.text
    assert "SUPABASE_JWT_SECRET" in check.fix
