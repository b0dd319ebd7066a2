"""B, whose notices are to arrive as if A did nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import asyncpg
from cryptography.fernet import Fernet

from meshmetrics.alerts.channels.webhook.signature import new_secret
from meshmetrics.alerts.sealing import Seal
from tests.alerts.conftest import make_channel, make_rule
from tests.alerts.receiver import Receiver, receiving
from tests.daemon.conftest import Running, World
from tests.support import Project, Workflow, finish_run, insert_run, make_project, make_workflow

KEY = Fernet.generate_key().decode()
SEAL = Seal(KEY)
NOTICES = 3
PAUSE_SECONDS = 1.2
"""Between two notices of B's: a round begins at most once a second."""
NOISE_SECONDS = 0.5
"""What a loaded machine adds to a figure by itself."""


@dataclass
class Victim:
    """B: a rule that opens or closes an incident with each of its runs."""

    owner: asyncpg.Connection
    workflow: Workflow
    receiver: Receiver

    async def figure(self) -> float:
        """Seconds from a run's commit to its notice at the receiver: the median of a few."""
        took = []
        for number in range(NOTICES):
            await asyncio.sleep(PAUSE_SECONDS)
            self.receiver.came.clear()
            run = await insert_run(self.owner, self.workflow)
            began = time.perf_counter()
            await finish_run(self.owner, run, "succeeded" if number % 2 else "failed")
            await asyncio.wait_for(self.receiver.came.wait(), 30)
            took.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_SECONDS)
        run = await insert_run(self.owner, self.workflow)
        self.receiver.came.clear()
        await finish_run(self.owner, run, "succeeded")
        await asyncio.wait_for(self.receiver.came.wait(), 30)
        return median(took)


async def channel_to(owner: asyncpg.Connection, project: Project, receiver: Receiver) -> None:
    sealed = {"sealed_target": SEAL.seal(receiver.url), "sealed_secret": SEAL.seal(new_secret())}
    await make_channel(owner, project, **sealed)


@asynccontextmanager
async def victim(
    world: World, *others: Receiver, **changes: Any
) -> AsyncIterator[tuple[Victim, Running]]:
    """B beside a daemon that may send to it and to these others."""
    owner = world.owner
    async with receiving() as receiver:
        for one in (receiver, *others):
            one.url = one.url.replace("hooks.test", "127.0.0.1")
        receiver.answers = []
        project = await make_project(owner)
        workflow = await make_workflow(owner, project, "b")
        await make_rule(
            owner,
            project,
            metric="consecutive_failures",
            consecutive=1,
            recovery_runs=1,
            reopen_within_seconds=0,
        )
        await channel_to(owner, project, receiver)
        ports = ",".join(r.url.split(":")[2].split("/")[0] for r in (receiver, *others))
        settings = {
            "alert_keys": KEY,
            "alert_http": True,
            "alert_ports": ports,
            "alert_networks": "127.0.0.0/8",
            "alert_interval": 2,
            "alert_group_wait": 0,
            "alert_messages_per_hour": 10_000,
            "pool_size": 6,
            **changes,
        }
        async with world.running(**settings) as running:
            yield Victim(owner, workflow, receiver), running


def assert_unharmed(quiet: float, attacked: float) -> None:
    """B's figure under attack is at most twice its quiet one."""
    assert attacked <= 2 * quiet + NOISE_SECONDS, f"{quiet:.2f} → {attacked:.2f} s"


@asynccontextmanager
async def silent() -> AsyncIterator[Receiver]:
    """A receiver on another address that takes requests and answers nothing. `got` has them."""
    receiver = Receiver()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        receiver.got.append(({}, await reader.read(1)))
        await reader.read()  # until the sender gives up
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.2", 0)
    receiver.url = f"http://127.0.0.2:{server.sockets[0].getsockname()[1]}/"
    yield receiver
    server.close()
