"""Broadcasts over HTTP: `POST /realtime/v1/api/broadcast`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from meshmetrics.devstack.realtime.database import UNREACHABLE
from meshmetrics.devstack.realtime.frames import Broadcast, dumps
from meshmetrics.devstack.realtime.shared import Shared
from meshmetrics.devstack.realtime.tokens import TokenError, verify

_BLANK = ["can't be blank"]
_INVALID = ["is invalid"]
_TOO_LARGE = ["Payload size exceeds tenant limit"]
_TOO_MANY = "Too many messages to broadcast, please reduce the batch size"


class HttpBroadcast:
    """The endpoint. A batch passes or fails whole; a private message that its sender may not send
    is accepted and dropped."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def batch(self, request: web.Request) -> web.Response:
        """Body `{"messages": [{"topic", "event", "payload", "private"?}]}`; answers 202."""
        return await self._answer(request, None)

    async def single(self, request: web.Request) -> web.Response:
        """One message: topic and event in the path, the payload as the body; answers 202."""
        message = {
            "topic": request.match_info["topic"],
            "event": request.match_info["event"],
            "private": request.query.get("private") == "true",
        }
        return await self._answer(request, message)

    async def _answer(self, request: web.Request, single: dict[str, Any] | None) -> web.Response:
        fault = self._shared.faults.http
        if fault == "hang" or self._shared.faults.hang:
            await asyncio.Event().wait()
        if isinstance(fault, int):
            return _json(fault, {"message": f"fault injected: {fault}"})
        try:
            body = json.loads(await request.text())
        except web.HTTPRequestEntityTooLarge:
            text = "Request Entity Too Large"
            return web.Response(status=413, text=text, content_type="text/html", charset="utf-8")
        except ValueError:
            return _json(400, {"errors": {"detail": "Bad Request"}})
        try:
            claims = verify(self._token(request), self._shared.jwt_secret)
        except TokenError:
            return _json(401, {"message": "Unauthorized"})
        if single is not None:
            body = {"messages": [{**single, "payload": body}]}
        messages = body.get("messages") or [] if isinstance(body, dict) else []
        errors = self._errors(messages)
        if errors:
            return _json(422, {"errors": {"messages": errors}})
        if self._shared.hub.rate.exceeded(len(messages)):
            return _json(429, {"message": _TOO_MANY})
        for message in messages:
            await self._send(message, claims)
        return web.Response(status=202)

    def _errors(self, messages: object) -> list[Any]:
        if not isinstance(messages, list):
            return _INVALID
        if not messages:
            return _BLANK
        found = [self._message_errors(message) for message in messages]
        return found if any(found) else []

    def _message_errors(self, message: object) -> dict[str, list[str]]:
        if not isinstance(message, dict):
            return {"messages": _INVALID}
        errors = {}
        for name, kind in (("topic", str), ("event", str), ("payload", dict)):
            value = message.get(name)
            if value is None or value == "":
                errors[name] = _BLANK
            elif not isinstance(value, kind):
                errors[name] = _INVALID
        if "payload" not in errors and (
            len(dumps(message["payload"]).encode()) > self._shared.limits.payload_bytes
        ):
            errors["payload"] = _TOO_LARGE
        return errors

    def _token(self, request: web.Request) -> str:
        """A bearer token is used unchanged, so that a key that is not a JWT is refused later."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return token
        return self._shared.exchange(request.headers.get("apikey", ""))

    async def _send(self, message: dict[str, Any], claims: dict[str, Any]) -> None:
        topic, private = message["topic"], message.get("private") is True
        if private:
            try:
                if not await self._shared.authorizer.may_write(claims, topic):
                    return
            except UNREACHABLE:
                return
        broadcast = Broadcast(message["event"], dumps(message["payload"]).encode())
        self._shared.hub.broadcast(f"realtime:{topic}", private, broadcast)


def _json(status: int, value: object) -> web.Response:
    return web.Response(status=status, text=dumps(value), content_type="application/json")
