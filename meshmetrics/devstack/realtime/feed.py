"""The poller: reads committed changes off a replication slot of its own and hands them out.

It starts with the first subscription and silently loses what the real one loses: what was
committed while Postgres was away, everything above the rate, everything in a huge transaction. When
Postgres was away for too long, the subscriptions of that time are never served again; a new
subscription starts a new poller.
"""

from __future__ import annotations

import asyncio
import logging
import time
from uuid import uuid4

import asyncpg

from meshmetrics.devstack.realtime.catalogue import PUBLICATION
from meshmetrics.devstack.realtime.changes import Share, Subscriber, share_out
from meshmetrics.devstack.realtime.database import UNREACHABLE, Database
from meshmetrics.devstack.realtime.faults import Faults
from meshmetrics.devstack.realtime.limits import Limits, RateCounter, Timing
from meshmetrics.devstack.realtime.pgoutput import DecodeError, Decoder
from meshmetrics.devstack.realtime.subscriptions import Subscription
from meshmetrics.devstack.tasks import end

log = logging.getLogger(__name__)

_CREATE_SLOT = "select pg_create_logical_replication_slot($1, 'pgoutput', true)"
_READ = """
select data from pg_logical_slot_get_binary_changes(
  $1, null, $2, 'proto_version', '1', 'publication_names', $3)
"""
_LAG = """
select pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn)::bigint
from pg_replication_slots s where s.slot_name = $1
"""
_TABLES = "select schemaname || '.' || tablename from pg_publication_tables where pubname = $1"
# pgoutput wraps a row into begin and commit, and Postgres counts those as well.
_MESSAGES_PER_CHANGE = 3


class Feed:
    """The changes of one database, for all channels."""

    def __init__(self, database: Database, limits: Limits, timing: Timing, faults: Faults) -> None:
        self.database = database
        self.limits = limits
        self.timing = timing
        self.faults = faults
        self.rate = RateCounter(limits.events_per_second, limits.average_over)
        self._poller: _Poller | None = None
        self._pollers: set[_Poller] = set()

    async def subscribe(
        self, subscriber: Subscriber, subscriptions: tuple[Subscription, ...]
    ) -> None:
        """Serve `subscriber` from now on, instead of what it had. Returns when the slot is there,
        or could not be made: as on the real server, no error is sent."""
        poller = self._poller
        cold = poller is None or poller.done
        if poller is None or poller.done:
            self._pollers = {p for p in self._pollers if not p.done}
            poller = self._poller = _Poller(self)
            self._pollers.add(poller)
        await poller.ready.wait()
        if cold:
            await asyncio.sleep(self.timing.cold_start)
        poller.subscribers[subscriber] = subscriptions

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Serve it no more."""
        if self._poller is not None:
            self._poller.subscribers.pop(subscriber, None)

    @property
    def subscriber_count(self) -> int:
        """How many channels are being served."""
        return len(self._poller.subscribers) if self._poller and not self._poller.done else 0

    async def close(self) -> None:
        for poller in self._pollers:
            await poller.stop()
        self._pollers.clear()
        self._poller = None


class _Poller:
    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.subscribers: dict[Subscriber, tuple[Subscription, ...]] = {}
        self.ready = asyncio.Event()
        self._idle_since = time.monotonic()
        self._later: set[asyncio.TimerHandle] = set()
        self._task = asyncio.create_task(self._run(), name="realtime poller")

    @property
    def done(self) -> bool:
        """Whether it has ended: its subscribers are dead then."""
        return self._task.done()

    async def stop(self) -> None:
        await end(self._task)
        for handle in self._later:
            handle.cancel()

    async def _run(self) -> None:
        pause = 0.05
        lost_at: float | None = None
        while lost_at is None or time.monotonic() - lost_at <= self._feed.timing.give_up:
            try:
                connection = await self._feed.database.connect()
                try:
                    slot = f"realtime_{uuid4().hex[:20]}"
                    await connection.execute(_CREATE_SLOT, slot)
                    tables = await _published(connection)  # as the first subscriber finds them
                    pause, lost_at = 0.05, None
                    self.ready.set()
                    await self._poll_while_wanted(connection, slot, tables)
                    return
                finally:
                    connection.terminate()
            except (*UNREACHABLE, asyncpg.PostgresError, DecodeError) as error:
                log.warning("changes are being lost: %s", error)
            lost_at = lost_at or time.monotonic()
            self.ready.set()
            await asyncio.sleep(min(pause, self._feed.timing.reconnect))
            pause *= 2

    async def _poll_while_wanted(
        self,
        connection: asyncpg.Connection[asyncpg.Record],
        slot: str,
        tables: set[str],
    ) -> None:
        feed = self._feed
        compared_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now - compared_at >= feed.timing.publication:
                found, compared_at = await _published(connection), now
                if found != tables:
                    tables = found
                    for channel in list(self.subscribers):
                        channel.subscribed_again()
            subscribed = bool(self.subscribers)
            if subscribed:
                self._idle_since = now
            elif now - self._idle_since > feed.timing.linger:
                return
            rows = await connection.fetch(
                _READ, slot, feed.limits.changes_per_poll * _MESSAGES_PER_CHANGE, PUBLICATION
            )
            count = await self._hand_out([row[0] for row in rows])
            # Without subscribers the real one's query gives no rows, which it takes for idleness.
            if count < feed.limits.changes_per_poll or not subscribed:
                await asyncio.sleep(feed.timing.poll)
            else:
                behind = await connection.fetchval(_LAG, slot) > feed.limits.backlog_bytes
                least = count / (
                    feed.limits.backlog_changes_per_second
                    if behind
                    else feed.limits.changes_per_second
                )
                await asyncio.sleep(max(0.0, least - (time.monotonic() - now)))

    async def _hand_out(self, messages: list[bytes]) -> int:
        """Deliver the changes in these messages; return how many there were."""
        feed = self._feed
        if feed.rate.exceeded() or len(messages) > feed.limits.rows_per_transaction:
            return len(messages) // _MESSAGES_PER_CHANGE
        decoder = Decoder()
        decoded = [change for m in messages if (change := decoder.decode(m)) is not None]
        changes = [change for change in decoded if not feed.faults.loses(change)]
        if changes and self.subscribers:
            # Not on the slot's connection: any error there, say in a policy, drops the slot.
            async with feed.database.acquire() as connection:
                shared = await share_out(
                    connection, changes, dict(self.subscribers), feed.limits.record_bytes
                )
            feed.rate.add(sum(len(share.ids) for _, shares in shared for share in shares))
            for _change, shares in shared:
                self._deliver(shares)
        return len(decoded)

    def _deliver(self, shares: list[Share]) -> None:
        for after in self._feed.faults.copies():
            if after <= 0:
                self._send(shares)
            else:
                self._send_later(after, shares)

    def _send_later(self, after: float, shares: list[Share]) -> None:
        def send() -> None:
            self._later.discard(handle)
            self._send(shares)

        handle = asyncio.get_running_loop().call_later(after, send)
        self._later.add(handle)

    def _send(self, shares: list[Share]) -> None:
        for share in shares:
            if share.channel in self.subscribers:
                share.channel.receive_change(share.payload)


async def _published(connection: asyncpg.Connection[asyncpg.Record]) -> set[str]:
    return {row[0] for row in await connection.fetch(_TABLES, PUBLICATION)}
