"""Broadcasts from the database: what `realtime.send` puts into realtime.messages.

The real server streams that table's inserts from the log. This one gets them by NOTIFY, from
a trigger it makes itself, which is as prompt and as lossy: what is committed while it is not
listening is never sent.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import asyncpg

from meshmetrics.devstack.realtime.database import UNREACHABLE, Database
from meshmetrics.devstack.realtime.frames import Broadcast
from meshmetrics.devstack.realtime.hub import Hub
from meshmetrics.devstack.realtime.limits import Timing
from meshmetrics.devstack.tasks import end

log = logging.getLogger(__name__)

_CHANNEL = "development_realtime_messages"
_TRIGGER = "development_realtime_notify"
_INSTALL = f"""
create or replace function realtime.{_TRIGGER}() returns trigger language plpgsql as $$
begin
  perform pg_notify('{_CHANNEL}', new.id::text);
  return null;
end
$$;
create or replace trigger {_TRIGGER} after insert on realtime.messages
  for each row execute function realtime.{_TRIGGER}();
"""
_INSTALLED = """
select 1 from pg_trigger where tgrelid = 'realtime.messages'::regclass and tgname = $1
"""
_MESSAGE = """
select id::text, topic, event, private, payload::text
from realtime.messages where id = $1::uuid and extension = 'broadcast'
"""


class Messages:
    """Listens while it runs, and reconnects after Postgres was away."""

    def __init__(self, database: Database, hub: Hub, timing: Timing) -> None:
        self._database = database
        self._hub = hub
        self._timing = timing
        self.listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; returns when it listens, or a first attempt failed."""
        tried = asyncio.Event()
        self._task = asyncio.create_task(self._run(tried), name="realtime messages")
        await tried.wait()

    async def close(self) -> None:
        if self._task is not None:
            await end(self._task)

    async def _run(self, tried: asyncio.Event) -> None:
        pause = 0.05
        while True:
            try:
                connection = await self._database.connect()
                try:
                    ids = await self._listen(connection)
                    pause = 0.05
                    self.listening.set()
                    tried.set()
                    while (message_id := await ids.get()) is not None:
                        await self._send(connection, message_id)
                finally:
                    self.listening.clear()
                    connection.terminate()
            except (*UNREACHABLE, asyncpg.PostgresError) as error:
                log.warning("messages are being lost: %s", error)
            tried.set()
            await asyncio.sleep(min(pause, self._timing.reconnect))
            pause *= 2

    async def _listen(
        self, connection: asyncpg.Connection[asyncpg.Record]
    ) -> asyncio.Queue[str | None]:
        ids: asyncio.Queue[str | None] = asyncio.Queue()

        def notified(_connection: Any, _pid: int, _channel: str, payload: Any) -> None:
            ids.put_nowait(payload)

        if not await connection.fetchval(_INSTALLED, _TRIGGER):
            await connection.execute(_INSTALL)
        connection.add_termination_listener(lambda _connection: ids.put_nowait(None))
        await connection.add_listener(_CHANNEL, notified)
        return ids

    async def _send(self, connection: asyncpg.Connection[asyncpg.Record], message_id: str) -> None:
        row = await connection.fetchrow(_MESSAGE, message_id)
        if row is None:
            return
        broadcast = Broadcast(
            row["event"] or "",
            (row["payload"] or "{}").encode(),
            binary=True,
            meta={"id": row["id"]},
        )
        self._hub.broadcast(f"realtime:{row['topic']}", bool(row["private"]), broadcast)
