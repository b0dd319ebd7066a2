"""JSON web tokens as Supabase issues them: minted for development, and checked as Realtime does."""

from __future__ import annotations

import time
from typing import Any

import jwt

REQUIRED = "Fields `role` and `exp` are required in JWT"


class TokenError(Exception):
    """Why a token is refused: a `code` for join replies, and a message for everybody."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def mint(
    secret: str,
    role: str,
    *,
    sub: str | None = None,
    expires_in: float = 3600,
    **claims: Any,
) -> str:
    """An HS256 token for `role` (anon, authenticated, service_role), valid `expires_in` seconds.

    `sub` is the user's id, as `auth.uid()` returns it; other claims are added as they are.
    """
    now = int(time.time())
    body: dict[str, Any] = {"iss": "supabase", "role": role, "iat": now}
    body["exp"] = int(time.time() + expires_in)
    if sub is not None:
        body |= {"sub": sub, "aud": "authenticated"}
    return jwt.encode(body | claims, secret, algorithm="HS256")


def verify(token: str, secret: str) -> dict[str, Any]:
    """The claims of a good token. Raises TokenError, with the words of the real server."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            options={"verify_exp": False, "verify_aud": False, "verify_iat": False},
        )
    except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
        message = "Failed to validate JWT signature"
        raise TokenError("JwtSignatureError", message) from None
    except jwt.InvalidTokenError:
        message = "The token provided is not a valid JWT"
        raise TokenError("MalformedJWT", message) from None
    expires = claims.get("exp")
    if not isinstance(claims.get("role"), str) or not isinstance(expires, int | float):
        raise TokenError("InvalidJWTToken", REQUIRED)
    over = int(time.time()) - int(expires)
    if over >= 0:
        raise TokenError("InvalidJWTToken", f"Token has expired {over} seconds ago")
    return claims
