"""From a batch of row changes to who gets which payload."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from meshmetrics.devstack.realtime import render
from meshmetrics.devstack.realtime.catalogue import TableFacts, table_facts
from meshmetrics.devstack.realtime.database import Connection
from meshmetrics.devstack.realtime.filters import Filter
from meshmetrics.devstack.realtime.pgoutput import RowChange, Values
from meshmetrics.devstack.realtime.subscriptions import Subscription
from meshmetrics.devstack.realtime.visibility import Key, key_of, passing, visible_keys


class Subscriber(Protocol):
    """Who gets changes: a channel."""

    def receive_change(self, payload: str) -> None:
        """Take the JSON payload of a postgres_changes frame."""

    def subscribed_again(self) -> None:
        """The tables of the publication changed: the server has subscribed anew."""


@dataclass(frozen=True, slots=True)
class Share:
    """A payload, and the ids of the subscriptions of one channel that it goes to."""

    channel: Subscriber
    ids: tuple[int, ...]
    payload: str


Subscribers = Mapping[Subscriber, tuple[Subscription, ...]]


async def share_out(
    connection: Connection, changes: list[RowChange], subscribers: Subscribers, record_bytes: int
) -> list[tuple[RowChange, list[Share]]]:
    """For every change that at least one channel receives, in order: the channels' shares."""
    everyone = list(itertools.chain.from_iterable(subscribers.values()))
    subscribed = [c for c in changes if any(s.wants(c) for s in everyone)]
    tables = {}
    for oid, group in itertools.groupby(
        sorted(subscribed, key=lambda c: c.relation.oid), key=lambda c: c.relation.oid
    ):
        table = await _Table.look_up(connection, oid, list(group), everyone)
        if table is not None:
            tables[oid] = table
    result = []
    for change in subscribed:
        table = tables.get(change.relation.oid)
        if table is None:
            continue
        shares = [
            share
            for channel, subscriptions in subscribers.items()
            for share in table.shares(change, channel, subscriptions, record_bytes)
        ]
        if shares:
            result.append((change, shares))
    return result


class _Table:
    """One table's part of a batch: what Postgres said of it, asked as seldom as possible."""

    def __init__(self, facts: TableFacts) -> None:
        self.facts = facts
        self._passing: dict[Filter, set[int]] = {}
        self._visible: dict[tuple[str, str], set[Key]] = {}

    @classmethod
    async def look_up(
        cls,
        connection: Connection,
        oid: int,
        changes: list[RowChange],
        everyone: list[Subscription],
    ) -> _Table | None:
        interested = [s for s in everyone if any(s.wants(c) for c in changes)]
        facts = await table_facts(connection, oid, {s.role for s in interested})
        if facts is None:
            return None
        table = cls(facts)
        rows: dict[int, Values] = {
            id(c): c.new if c.new is not None else c.old or {} for c in changes
        }
        for condition in {f for s in interested for f in s.filters}:
            table._passing[condition] = await passing(connection, facts, condition, rows)
        if facts.row_security and facts.key:
            keys = {key_of(facts, c.new) for c in changes if c.new is not None}
            for role, claims in {(s.role, s.claims) for s in interested}:
                table._visible[role, claims] = await visible_keys(
                    connection, facts, role, claims, keys
                )
        return table

    def shares(
        self,
        change: RowChange,
        channel: Subscriber,
        subscriptions: tuple[Subscription, ...],
        record_bytes: int,
    ) -> Iterator[Share]:
        selects: dict[frozenset[str] | None, list[int]] = defaultdict(list)
        for subscription in subscriptions:
            if not subscription.wants(change):
                continue
            error = render.refusal(change, self.facts, subscription.role)
            if error is not None:
                refused = (subscription.id,)
                yield Share(channel, refused, render.refused(change, error, refused))
            elif self._gets(change, subscription):
                selects[subscription.select].append(subscription.id)
        for select, found in selects.items():
            ids = tuple(dict.fromkeys(found))
            role = subscriptions[0].role
            payload = render.shown(change, self.facts, role, select, ids, record_bytes)
            yield Share(channel, ids, payload)

    def _gets(self, change: RowChange, subscription: Subscription) -> bool:
        if any(id(change) not in self._passing[f] for f in subscription.filters):
            return False
        if change.new is None or not self.facts.row_security:
            return True
        visible = self._visible.get((subscription.role, subscription.claims), set())
        return key_of(self.facts, change.new) in visible
