"""Which tokens are taken. Every kind that is not, over HTTP and against the real application."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from meshmetrics.api.http import jwks
from meshmetrics.api.http.auth import Authenticator
from meshmetrics.api.http.jwks import Jwks
from meshmetrics.api.http.problems import Problem
from tests.api.conftest import SECRET, ApiOptions, Counted, signed, token
from tests.support import Project, Workflow, eventually

SUMMARY = "/api/metrics/workflows/summary"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def public(key: Any, kid: str, **others: Any) -> dict[str, Any]:
    """The key as the project publishes it."""
    algorithm = jwt.algorithms.ECAlgorithm if key is EC_KEY else jwt.algorithms.RSAAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"} | others


def claims(**others: Any) -> dict[str, Any]:
    body = {
        "sub": str(uuid4()),
        "aud": "authenticated",
        "role": "authenticated",
        "exp": int(time.time()) + 600,
    }
    return {name: value for name, value in (body | others).items() if value is not None}


@dataclass
class KeyServer:
    """A project's key address: what it answers, and how often it was asked."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    asked: int = 0
    hold: asyncio.Event | None = None

    async def answer(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        return httpx.Response(self.status, json={"keys": self.keys})


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def supabase() -> KeyServer:
    return KeyServer([public(EC_KEY, "ec-1"), public(RSA_KEY, "rsa-1")])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(supabase: KeyServer, clock: Clock) -> AsyncIterator[Jwks]:
    async with httpx.AsyncClient(transport=httpx.MockTransport(supabase.answer)) as client:
        found = Jwks("http://project.test/auth/v1/.well-known/jwks.json", client, clock=clock)
        yield found
        await found.close()


@pytest.fixture
def both(keys: Jwks) -> Authenticator:
    """Takes the secret's tokens and the keys'."""
    return Authenticator(SECRET, keys)


async def refusal(authenticator: Authenticator, given: str) -> Problem:
    with pytest.raises(Problem) as caught:
        await authenticator.caller(f"Bearer {given}")
    assert caught.value.status == 401
    return caught.value


def es256(kid: str = "ec-1", **others: Any) -> str:
    return jwt.encode(claims(**others), EC_KEY, algorithm="ES256", headers={"kid": kid})


def rs256(kid: str = "rsa-1", **others: Any) -> str:
    return jwt.encode(claims(**others), RSA_KEY, algorithm="RS256", headers={"kid": kid})


async def test_a_good_token_of_each_kind_is_taken(both: Authenticator) -> None:
    user = uuid4()
    for good in (token(user), es256(sub=str(user)), rs256(sub=str(user))):
        caller = await both.caller(f"Bearer {good}")
        assert caller.user_id == user
        assert json.loads(caller.claims)["sub"] == str(user)


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
async def test_the_scheme_is_taken_in_any_case(both: Authenticator, scheme: str) -> None:
    await both.caller(f"{scheme} {token(uuid4())}")


def unsigned(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(body).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


PEM = EC_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def hs256_with(secret: bytes, **header: Any) -> str:
    """Signed by hand: no library would sign with a public key."""
    head = unsigned({"alg": "HS256", "typ": "JWT", **header}, claims()).rsplit(".", 1)[0]
    mac = hmac.digest(secret, head.encode(), "sha256")
    return head + "." + base64.urlsafe_b64encode(mac).decode().rstrip("=")


BAD = {
    "empty": "",
    "no token": "abc",
    "two parts": "abc.def",
    "not base64": "a!.b!.c!",
    "header is no object": unsigned([], claims()),  # type: ignore[arg-type]
    "payload is no object": jwt.api_jws.encode(b"[]", SECRET, algorithm="HS256"),
    "alg none": unsigned({"alg": "none", "typ": "JWT"}, claims()),
    "alg None": unsigned({"alg": "None"}, claims()),
    "alg none, signed": jwt.encode(claims(), SECRET).replace(
        jwt.encode({}, SECRET).split(".")[0], unsigned({"alg": "none"}, {}).split(".")[0]
    ),
    "alg missing": unsigned({"typ": "JWT"}, claims()),
    "alg is a number": unsigned({"alg": 7}, claims()),
    "alg HS384": jwt.encode(claims(), SECRET, algorithm="HS384"),
    "alg HS512": jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
    "foreign secret": jwt.encode(claims(), "another project's secret, just as long"),
    "empty secret": hs256_with(b""),
    "public key as secret": hs256_with(PEM, kid="ec-1"),
    "public key's JSON as secret": hs256_with(json.dumps(public(EC_KEY, "ec-1")).encode()),
    "HS256 named by a key id": hs256_with(PEM.strip(), kid="rsa-1"),
    "ES256 with the RSA key's id": es256("rsa-1"),
    "RS256 with the EC key's id": rs256("ec-1"),
    "ES256 by another key": jwt.encode(
        claims(), ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "ec-1"}
    ),
    "ES256 without a key id": jwt.encode(claims(), EC_KEY, "ES256"),
    "PS256": jwt.encode(claims(), RSA_KEY, "PS256", headers={"kid": "rsa-1"}),
    "unknown key id": es256("ec-9"),
    "key id is no text": unsigned({"alg": "ES256", "kid": {"a": 1}}, claims(), b"x"),
    "signature cut off": token(uuid4())[:-4],
    "no signature": token(uuid4()).rsplit(".", 1)[0] + ".",
    "a must-understand that nobody does": jwt.encode(
        claims(), SECRET, headers={"crit": ["x"], "x": 1}
    ),
    "expired": jwt.encode(claims(exp=int(time.time()) - 60), SECRET),
    "no expiry": jwt.encode(claims(exp=None), SECRET),
    "expiry is no number": jwt.encode(claims(exp="soon"), SECRET),
    "expiry is infinite": unsigned({"alg": "HS256"}, claims(exp=float("inf"))),
    "not valid yet": jwt.encode(claims(nbf=int(time.time()) + 600), SECRET),
    "foreign audience": jwt.encode(claims(aud="somebody"), SECRET),
    "no audience": jwt.encode(claims(aud=None), SECRET),
    "role anon": jwt.encode(claims(role="anon"), SECRET),
    "role service_role": jwt.encode(claims(role="service_role"), SECRET),
    "role postgres": jwt.encode(claims(role="postgres"), SECRET),
    "role is a list": jwt.encode(claims(role=["authenticated"]), SECRET),
    "no role": jwt.encode(claims(role=None), SECRET),
    "no sub": jwt.encode(claims(sub=None), SECRET),
    "sub is no user": jwt.encode(claims(sub="' or true --"), SECRET),
    "the anon key": jwt.encode({"iss": "supabase", "role": "anon", "exp": 9999999999}, SECRET),
    "far too long": "a" * 9000,
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_is_refused(both: Authenticator, kind: str) -> None:
    problem = await refusal(both, BAD[kind])
    assert problem.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Token x.y.z"])
async def test_without_a_token_nothing_is_told(both: Authenticator, header: str | None) -> None:
    with pytest.raises(Problem) as caught:
        await both.caller(header)
    assert (caught.value.status, caught.value.headers) == (401, {"WWW-Authenticate": "Bearer"})


async def test_without_a_secret_no_hs256_token_is_taken(keys: Jwks) -> None:
    without = Authenticator(None, keys)
    for given in (token(uuid4()), hs256_with(b""), hs256_with(PEM)):
        await refusal(without, given)
    await without.caller(f"Bearer {es256()}")


async def test_keys_are_fetched_once_for_many(both: Authenticator, supabase: KeyServer) -> None:
    await asyncio.gather(*(both.caller(f"Bearer {es256()}") for _ in range(20)))
    await both.caller(f"Bearer {rs256()}")
    assert supabase.asked == 1


async def test_a_new_key_is_found_and_a_withdrawn_one_forgotten(
    both: Authenticator, supabase: KeyServer, clock: Clock
) -> None:
    await both.caller(f"Bearer {es256()}")
    supabase.keys = [public(EC_KEY, "ec-2")]
    clock.now += jwks.PAUSE_SECONDS
    await both.caller(f"Bearer {es256('ec-2')}")
    clock.now += jwks.PAUSE_SECONDS
    await refusal(both, es256("ec-1"))
    await refusal(both, rs256("rsa-1"))


async def test_made_up_key_ids_cause_one_fetch_in_a_while(
    both: Authenticator, supabase: KeyServer, clock: Clock
) -> None:
    await both.caller(f"Bearer {es256()}")
    for n in range(50):
        await refusal(both, es256(f"made-up-{n}"))
    assert supabase.asked == 1
    clock.now += jwks.PAUSE_SECONDS
    for n in range(50):
        await refusal(both, es256(f"made-up-{n}"))
    assert supabase.asked == 2


async def test_old_keys_are_fetched_again_while_they_are_used(
    both: Authenticator, supabase: KeyServer, clock: Clock
) -> None:
    await both.caller(f"Bearer {es256()}")
    clock.now += jwks.FRESH_SECONDS + 1
    supabase.hold = asyncio.Event()
    async with asyncio.timeout(5):  # answered, although the fetch is not
        await both.caller(f"Bearer {es256()}")
        await both.caller(f"Bearer {es256()}")
    await eventually(lambda: supabase.asked == 2)
    supabase.hold.set()


@pytest.mark.parametrize("status", [500, 404])
async def test_keys_once_known_outlive_an_outage(
    both: Authenticator, supabase: KeyServer, clock: Clock, keys: Jwks, status: int
) -> None:
    await both.caller(f"Bearer {es256()}")
    supabase.status = status
    clock.now += jwks.FRESH_SECONDS + 1
    await both.caller(f"Bearer {es256()}")
    await refusal(both, es256("ec-9"))
    await both.caller(f"Bearer {es256()}")
    assert supabase.asked == 2


async def test_where_no_keys_can_be_had_it_is_not_the_callers_fault(
    both: Authenticator, supabase: KeyServer, clock: Clock
) -> None:
    supabase.status = 500
    with pytest.raises(Problem) as caught:
        await both.caller(f"Bearer {es256()}")
    assert caught.value.status == 503
    await both.caller(f"Bearer {token(uuid4())}")  # the secret's tokens need none
    supabase.status = 200
    clock.now += jwks.PAUSE_SECONDS
    await both.caller(f"Bearer {es256()}")


@pytest.mark.parametrize(
    "document",
    [
        {"kty": "oct", "k": "c2VjcmV0LXRoYXQtaXMtcHVibGlzaGVk", "alg": "HS256"},
        public(EC_KEY, "x", use="enc"),
        public(EC_KEY, "x", alg="HS256"),
        public(RSA_KEY, "x", alg="none"),
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "RSA"},
        {},
    ],
)
async def test_a_key_that_is_none_of_ours_is_left_out(
    both: Authenticator, supabase: KeyServer, document: dict[str, Any]
) -> None:
    supabase.keys = [document | {"kid": "x"}, public(EC_KEY, "ec-1")]
    await both.caller(f"Bearer {es256()}")
    for bad in (es256("x"), hs256_with(b"secret-that-is-published", kid="x"), rs256("x")):
        await refusal(both, bad)


@pytest.mark.parametrize("answer", [[], {}, {"keys": None}, {"keys": ["x"]}, {"keys": {"a": 1}}])
async def test_an_answer_that_is_no_list_of_keys_breaks_nothing(answer: Any) -> None:
    async def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=answer)

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as client:
        keys = Jwks("http://project.test/jwks", client)
        with pytest.raises(Problem):
            await Authenticator(None, keys).caller(f"Bearer {es256()}")


@pytest.mark.parametrize("kind", ["expired", "alg none", "foreign secret", "role service_role"])
async def test_over_http_a_bad_token_gets_a_problem_and_no_data(
    client: httpx.AsyncClient, workflow: Workflow, count: Counted, kind: str
) -> None:
    await count(workflow, failed=1)
    for path in (SUMMARY, f"/api/metrics/workflow/{workflow.id}", f"{SUMMARY}?limit=none"):
        response = await client.get(path, headers={"Authorization": f"Bearer {BAD[kind]}"})
        assert response.status_code == 401
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert "orders" not in response.text


async def test_claims_of_a_token_cannot_become_another_role(
    client: httpx.AsyncClient, workflow: Workflow, stranger: Project, count: Counted
) -> None:
    await count(workflow, failed=1)
    sly = signed(
        stranger.owner,
        user_role="service_role",
        app_metadata={"role": "service_role", "claims_admin": True},
        note="'); set role postgres; --",
    )
    response = await client.get(SUMMARY, headers=sly)
    assert response.status_code == 200
    assert response.json()["rows"] == []


@pytest.fixture
def options(both: Authenticator) -> ApiOptions:
    return ApiOptions(authenticator=both)


async def test_over_http_an_asymmetric_token_reads_its_users_data(
    client: httpx.AsyncClient, project: Project, workflow: Workflow, count: Counted
) -> None:
    await count(workflow, failed=1)
    bearer = {"Authorization": f"Bearer {es256(sub=str(project.owner))}"}
    response = await client.get(SUMMARY, headers=bearer)
    assert response.json()["period"]["failure_count"] == 1
