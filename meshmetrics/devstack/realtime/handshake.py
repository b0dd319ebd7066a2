"""The connect request of a websocket: who gets in, and with what words the others are refused."""

from __future__ import annotations

import asyncio

from aiohttp import web

from meshmetrics.devstack.realtime.frames import VERSIONS, dumps
from meshmetrics.devstack.realtime.shared import Shared
from meshmetrics.devstack.realtime.socket import Socket
from meshmetrics.devstack.realtime.tokens import TokenError, verify


class Handshake:
    """Makes sockets, and keeps those that are open in `sockets`."""

    def __init__(self, shared: Shared, sockets: set[Socket]) -> None:
        self._shared = shared
        self._sockets = sockets

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Serve one websocket to its end, or refuse it: 401, 403, 429 (or as the faults say)."""
        faults, transport = self._shared.faults, request.transport
        if transport is None or faults.refuse:
            if transport is not None:
                transport.abort()
            return web.Response(status=503)
        if faults.hang:
            await asyncio.Event().wait()
        version = VERSIONS.get(request.query.get("vsn"))
        if version is None:
            return web.Response(status=403)
        token = request.headers.get("x-api-key") or request.query.get("apikey") or ""
        token = self._shared.exchange(token)
        refusal = self._refusal(token)
        if refusal is not None:
            await asyncio.sleep(self._shared.timing.refused_connect)
            status, message = refusal
            return web.json_response({"error": message}, status=status, dumps=dumps)
        # No limit here, or a large frame would end in a reset instead of a close code.
        websocket = web.WebSocketResponse(max_msg_size=0, autoping=False, compress=False)
        await websocket.prepare(request)
        if faults.close_on_connect:
            await websocket.close()
            return websocket
        socket = Socket(self._shared, websocket, transport, version, token)
        self._sockets.add(socket)
        try:
            await socket.run()
        finally:
            self._sockets.discard(socket)
        return websocket

    def _refusal(self, token: str) -> tuple[int, str] | None:
        shared = self._shared
        if shared.faults.connect_error is not None:
            return shared.faults.connect_error
        if not token:
            return 401, "API key is missing"
        if shared.joins.exceeded():
            return 429, "Too many joins per second"
        if len(shared.users) >= shared.limits.users:
            return 429, "Too many connected users"
        try:
            verify(token, shared.jwt_secret)
        except TokenError as error:
            message = str(error)
            return 401, "Token has expired" if "expired" in message else message
        return None
