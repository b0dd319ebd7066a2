"""Examines settings, database and Realtime, and says for each what is wrong and how to fix it.

It only reads, except for one broadcast to a topic of its own. No text contains a secret.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx

from meshmetrics.commands.connecting import CommandError, connected
from meshmetrics.commands.doctor import database, options, realtime, tenant
from meshmetrics.commands.doctor.check import Check
from meshmetrics.settings.fields import Settings
from meshmetrics.settings.load import SettingsError, load_settings, unknown_settings


async def examine(on_check: Callable[[Check], None] = lambda _: None) -> list[Check]:
    """Run all checks in order; call `on_check` after each."""
    checks: list[Check] = []

    def add(check: Check) -> None:
        checks.append(check)
        on_check(check)

    settings = _settings(add)
    if settings is None:
        for name in ("database", "realtime"):
            add(Check(name, "skipped", "not examined until the settings are right"))
        return checks
    try:
        async with connected(settings) as stores:
            async for check in database.checks(stores):
                add(check)
            add(await tenant.check(stores.audits, settings.api_statement_timeout))
            for check in database.failure_checks(await stores.audits.engine_habits()):
                add(check)
            add(await database.clock(stores.database))
            if settings.pooler == "auto" and not settings.transaction_pooler:
                add(await database.pooler(settings.dsn))
            streaming = await realtime.checks(settings, stores.counting.stream_slot_active)
    except CommandError as error:
        add(Check("database", "wrong", error.what, error.fix))
        streaming = await realtime.checks(settings)
    for check in streaming:
        add(check)
    async with httpx.AsyncClient() as http:
        for check in await options.checks(settings, http):
            add(check)
    return checks


def _settings(add: Callable[[Check], None]) -> Settings | None:
    try:
        settings = load_settings(Settings)
    except SettingsError as error:
        for line in str(error).splitlines():
            what, _, takes = line.partition(": ")
            add(Check("settings", "wrong", what, takes))
        return None
    for line in (*unknown_settings(), *settings.connection.notes):
        add(Check("settings", "note", line))
    add(Check("settings", "ok", "complete"))
    return settings
