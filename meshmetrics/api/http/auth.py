"""Authentication by Supabase's user tokens: HS256 with the project's secret, ES256 or RS256 with
its public keys.

A token only identifies the user. The database decides what they may see: its transaction uses the
caller's role and claims.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt

from meshmetrics.api.http.jwks import Jwks
from meshmetrics.api.http.problems import RETRY, Problem

AUDIENCE = "authenticated"
ROLE = "authenticated"
LEEWAY_SECONDS = 5
MAX_CHARACTERS = 8192


@dataclass(frozen=True, slots=True)
class Caller:
    """A user with a valid token."""

    user_id: UUID
    claims: str
    """The token's claims as JSON, for `request.jwt.claims`."""


def claims_of(user_id: UUID) -> str:
    """The minimum claims of a token of this user."""
    return json.dumps({"sub": str(user_id), "role": ROLE, "aud": AUDIENCE})


class Authenticator:
    """Verifies tokens."""

    def __init__(self, secret: str | None, keys: Jwks | None) -> None:
        """`secret` verifies HS256 tokens and `keys` ES256 and RS256 tokens; without one, its tokens
        are refused."""
        self._secret = secret
        self._keys = keys

    async def caller(self, authorization: str | None) -> Caller:
        """The user of this `Authorization` header. Raises Problem: 401, or 503 without keys."""
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise _refused("send the user's Supabase token: Authorization: Bearer …", None)
        if len(token) > MAX_CHARACTERS:
            raise _refused("the token is too long")
        claims = await self._claims(token)
        if claims.get("role") != ROLE:
            raise _refused(f"the token is not a signed-in user's: its role is not {ROLE}")
        try:
            user_id = UUID(claims["sub"])
        except (ValueError, TypeError, AttributeError):
            raise _refused("the token's sub is not a user id") from None
        if str(user_id) != claims["sub"].lower():  # other notations, which Postgres refuses
            raise _refused("the token's sub is not a user id")
        return Caller(user_id, _as_jsonb(claims))

    async def _claims(self, token: str) -> dict[str, Any]:
        """The claims of a token with a valid signature, lifetime and audience."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            claims: dict[str, Any] = jwt.decode(
                token,
                await self._key(str(algorithm), header.get("kid")),
                # Only the algorithm of this key: a public key is never used as an HS256 secret.
                algorithms=[str(algorithm)],
                audience=AUDIENCE,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "aud", "sub", "role"]},
            )
        except jwt.ExpiredSignatureError:
            raise _refused("the token has expired") from None
        except jwt.InvalidAudienceError:
            raise _refused(f"the token is not for {AUDIENCE}") from None
        except jwt.MissingRequiredClaimError as error:
            raise _refused(f"the token has no {error.claim}") from None
        except jwt.InvalidSignatureError:
            raise _refused("the token's signature is wrong") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise _refused("the token is not valid") from None
        return claims

    async def _key(self, algorithm: str, kid: object) -> str | jwt.PyJWK:
        if algorithm == "HS256" and self._secret is not None:
            return self._secret
        if algorithm in ("ES256", "RS256") and self._keys is not None and isinstance(kid, str):
            try:
                key = await self._keys.key(kid, algorithm)
            except ConnectionError as error:
                raise Problem(503, str(error), headers=RETRY) from None
            if key is not None:
                return key
        raise _refused("the token's signing algorithm is not accepted, or its key is unknown")


def _as_jsonb(claims: dict[str, Any]) -> str:
    """The claims as JSON that Postgres takes as jsonb too. Raises Problem (401): no NaN, no
    character U+0000, no half of a surrogate pair."""
    try:
        text = json.dumps(claims, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (ValueError, RecursionError):
        text = "\\u0000"
    if "\\u0000" in text:
        raise _refused("the token's claims cannot be read")
    return text


def _refused(detail: str, error: str | None = "invalid_token") -> Problem:
    challenge = "Bearer" if error is None else f'Bearer error="{error}"'
    return Problem(401, detail, headers={"WWW-Authenticate": challenge})
