"""Who may join what: the checks of phx_join, in the order of the real server."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

from meshmetrics.devstack.realtime.config import ConfigError, JoinConfig, read_config
from meshmetrics.devstack.realtime.database import UNREACHABLE
from meshmetrics.devstack.realtime.frames import Frame
from meshmetrics.devstack.realtime.shared import Shared
from meshmetrics.devstack.realtime.tokens import TokenError, verify


class JoinRefusedError(Exception):
    """The message is the reason that the client gets. `disconnect`: its socket is closed too."""

    def __init__(self, reason: str, *, disconnect: bool = False) -> None:
        super().__init__(reason)
        self.disconnect = disconnect


async def admit(
    shared: Shared, connection: object, channels: Sized, frame: Frame, socket_token: str
) -> tuple[JoinConfig, str, dict[str, Any]]:
    """The join's config, its token and that token's claims.

    `channels` are those of the connection, `socket_token` is what it connected with. Raises
    JoinRefusedError.
    """
    name = frame.topic.removeprefix("realtime:")
    if not name:
        raise JoinRefusedError("TopicNameRequired: You must provide a topic name")
    if connection not in shared.users and len(shared.users) >= shared.limits.users:
        raise JoinRefusedError("ConnectionRateLimitReached: Too many connected users")
    if shared.joins.exceeded():
        message = "ClientJoinRateLimitReached: Too many joins per second"
        raise JoinRefusedError(message, disconnect=True)
    shared.joins.add()
    if len(channels) >= shared.limits.channels_per_connection:
        raise JoinRefusedError("ChannelRateLimitReached: Too many channels")
    try:
        config = read_config(frame.payload, name)
    except ConfigError:
        message = "UnknownErrorOnChannel: no function clause matching in Access.get/3"
        raise JoinRefusedError(message) from None
    token = _token(frame.payload, socket_token)
    try:
        claims = verify(token, shared.jwt_secret)
    except TokenError as error:
        raise JoinRefusedError(f"{error.code}: {error}") from None
    if config.private:
        await _authorize(shared, claims, name)
    if config.replay and not config.private:
        message = "UnableToReplayMessages: Replay is not allowed for public channels"
        raise JoinRefusedError(message)
    return config, token, claims


def _token(payload: dict[str, Any], socket_token: str) -> str:
    token = payload.get("user_token") or payload.get("access_token")
    if not isinstance(token, str) or token.startswith("sb_"):
        return socket_token
    return token


async def _authorize(shared: Shared, claims: dict[str, Any], name: str) -> None:
    try:
        allowed = await shared.authorizer.may_read(claims, name)
    except UNREACHABLE:
        raise JoinRefusedError(
            "UnableToConnectToProject: Realtime was unable to connect to the project database"
        ) from None
    if not allowed:
        raise JoinRefusedError(
            f"Unauthorized: You do not have permissions to read from this Channel topic: {name}"
        )
