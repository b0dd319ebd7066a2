"""Signing in on this machine: a list of users and their tokens, which only the local stack has."""

from __future__ import annotations

import time
from collections.abc import Mapping
from uuid import UUID

from aiohttp import web

from meshmetrics.devstack.realtime.tokens import mint

LIFE_SECONDS = 3600
"""How long a token is valid in seconds, as on Supabase."""


class LocalUsers:
    """`GET /local/users`: every user with a fresh token, to every process on this machine."""

    def __init__(
        self, secret: str, users: Mapping[str, UUID], *, life: float = LIFE_SECONDS
    ) -> None:
        """`life`: how long each token is valid, in seconds."""
        self._secret = secret
        self._users = users
        self._life = life

    async def listed(self, request: web.Request) -> web.Response:
        """404 if there are no users."""
        if not self._users:
            raise web.HTTPNotFound
        expires_at = int(time.time() + self._life)
        users = [
            {
                "id": str(user_id),
                "name": name,
                "access_token": mint(
                    self._secret, "authenticated", sub=str(user_id), expires_in=self._life
                ),
                "expires_at": expires_at,
                "expires_in": self._life,
            }
            for name, user_id in self._users.items()
        ]
        return web.json_response(
            {"users": users},
            headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"},
        )
