"""The lease: one holder at a time, by the database's clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import asyncpg

from meshmetrics.daemon.lease import LeaseStore

TTL = timedelta(minutes=5)


async def test_only_one_of_many_that_ask_at_once_holds_the_lease(leases: LeaseStore) -> None:
    found = await asyncio.gather(*(leases.take_lease(uuid4(), f"d{n}", TTL) for n in range(12)))
    assert sum(lease.held for lease in found) == 1
    assert len({lease.holder_name for lease in found if not lease.held}) <= 1


async def test_the_holder_renews_and_others_are_told_who_it_is(leases: LeaseStore) -> None:
    mine, other = uuid4(), uuid4()
    first = await leases.take_lease(mine, "mine", TTL)
    assert (first.held, first.last_alive) == (True, None)
    refused = await leases.take_lease(other, "other", TTL)
    assert (refused.held, refused.holder_name) == (False, "mine")
    again = await leases.take_lease(mine, "mine", TTL)
    assert again.held
    assert again.last_alive is not None


async def test_a_lease_given_back_is_free_at_once_and_tells_the_last_sign_of_life(
    leases: LeaseStore,
) -> None:
    mine = uuid4()
    await leases.take_lease(mine, "mine", TTL)
    await leases.release_lease(mine)
    lease = await leases.take_lease(uuid4(), "other", TTL)
    assert (lease.held, lease.holder_name) == (True, "other")
    assert lease.last_alive is not None


async def test_a_lease_that_ran_out_is_free(leases: LeaseStore, owner: asyncpg.Connection) -> None:
    await leases.take_lease(uuid4(), "dead", TTL)
    await owner.execute("update meshmetrics.lease set expires_at = now() - interval '1 second'")
    assert (await leases.take_lease(uuid4(), "next", TTL)).held


async def test_who_lost_the_lease_cannot_give_it_back(leases: LeaseStore) -> None:
    mine, other = uuid4(), uuid4()
    await leases.take_lease(mine, "mine", TTL)
    await leases.release_lease(other)
    assert (await leases.take_lease(other, "other", TTL)).held is False
