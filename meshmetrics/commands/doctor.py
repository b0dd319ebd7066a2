"""Examines settings, database and Realtime, and says of each whether it is well or how to fix it.

Reads only, but for one broadcast to a topic of its own. No text holds a secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx

from meshmetrics.auditing.model import EngineHabits
from meshmetrics.commands import doctor_options, doctor_realtime, doctor_tenant
from meshmetrics.commands.check import Check
from meshmetrics.commands.connecting import RESTORE, CommandError, connected
from meshmetrics.database.packaged_sql import Schema, packaged_schema
from meshmetrics.database.reachability import POOLER, is_transaction_pooler
from meshmetrics.database.store import Database
from meshmetrics.settings.fields import Settings
from meshmetrics.settings.load import SettingsError, load_settings, unknown_settings

OLDEST_POSTGRES = 150000
SKEW_SECONDS = 2.0
BUILT_IN = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
}
"""Defaults of Postgres; those of timeouts are 0."""


async def examine(on_check: Callable[[Check], None] = lambda _: None) -> list[Check]:
    """All checks in order; `on_check` is told of each as it is done."""
    checks: list[Check] = []

    def add(check: Check) -> None:
        checks.append(check)
        on_check(check)

    settings = _settings(add)
    if settings is None:
        for name in ("database", "realtime"):
            add(Check(name, "skipped", "not examined without right settings"))
        return checks
    try:
        async with connected(settings) as stores:
            for check in database_checks(await stores.audits.condition(), packaged_schema()):
                add(check)
            add(_engine_tables(await stores.counting.source_flaws()))
            add(_counts(*await stores.audits.counted_totals()))
            add(_statuses(await stores.counting.unknown_statuses()))
            add(await doctor_tenant.check(stores.audits, settings.api_statement_timeout))
            for check in failure_checks(await stores.audits.engine_habits()):
                add(check)
            add(await _clock(stores.database))
            if settings.pooler == "auto" and not settings.transaction_pooler:
                add(await _pooler(settings.dsn))
            streaming = await doctor_realtime.checks(settings, stores.counting.stream_slot_active)
    except CommandError as error:
        add(Check("database", "wrong", error.what, error.fix))
        streaming = await doctor_realtime.checks(settings)
    for line in streaming:
        add(line)
    async with httpx.AsyncClient() as http:
        for line in await doctor_options.checks(settings, http):
            add(line)
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


def database_checks(found: dict[str, Any], schema: Schema) -> Iterator[Check]:
    """What the condition of a database (condition.sql) says, a check each."""
    version = found["server_version"]
    yield _check(
        "database version",
        version >= OLDEST_POSTGRES,
        f"Postgres {version // 10000}.{version % 10000}",
        "upgrade to Postgres 15 or newer",
    )
    yield _check(
        "primary",
        not found["is_standby"],
        "DATABASE_URL leads to a read-only standby" if found["is_standby"] else "may be written",
        "use the connection string of the primary",
    )
    yield from _defaults(found["defaults"])
    yield _migrations(found["migrations"], found["release"], schema)
    missing = found["not_executable"]
    yield _check(
        "grants",
        not missing,
        f"may not execute {', '.join(missing)}" if missing else "the daemon may do its work",
        "grant meshmetrics_worker to the role in DATABASE_URL",
    )
    open_tables = found["without_row_security"]
    yield _check(
        "privacy",
        not open_tables and found["channel_policy"] and found["tenants_read"],
        "tenants see their own projects"
        if not open_tables and found["channel_policy"] and found["tenants_read"]
        else "row-level security, grants or the channel's policy are not as they were migrated",
        "run `meshmetrics migrate --print` and apply it again: policies.sql and privileges.sql",
    )
    yield _note(
        "REST API",
        found["becomes_tenants"],
        "can read as the caller",
        "cannot become authenticated, so every request is answered with 500",
        "grant authenticated to the role in DATABASE_URL",
    )
    yield _check(
        "publication",
        found["published"] and found["wal_level"] == "logical",
        "workflow_runs is published with inserts and updates"
        if found["published"] and found["wal_level"] == "logical"
        else f"no changes reach Realtime (wal_level {found['wal_level']})",
        "alter publication supabase_realtime add table public.workflow_runs;"
        " with wal_level = logical",
    )
    yield _check(
        "index",
        found["index_valid"] is True,
        {None: "workflow_runs_updated_at_id is missing", False: "the index is invalid"}.get(
            found["index_valid"], "present and valid"
        ),
        "run `meshmetrics migrate`: it builds the index without holding up writes",
    )
    yield _note(
        "long transactions",
        found["sees_transactions"],
        "seen: sweeps wait for them",
        f"not seen by {found['owner']}, who owns meshmetrics' functions: sweeps look"
        " MESHMETRICS_SWEEP_OVERLAP back, and the first back-fill waits that long",
        f"grant pg_read_all_stats to {found['owner']}; or keep MESHMETRICS_SWEEP_OVERLAP above the"
        " longest transaction",
    )
    yield _note(
        "back-fill",
        found["backfill_done"],
        "done",
        "not done yet",
        "let the daemon work, or run `meshmetrics backfill`",
    )
    yield _note(
        "set aside",
        not found["set_aside"],
        "no run",
        f"{found['set_aside']} runs cannot be counted",
        "`meshmetrics verify` lists them and says why",
    )
    yield _daemon(found["lease"])


def _defaults(found: Mapping[str, str]) -> Iterator[Check]:
    """The defaults of role, database or server that would keep a session from counting."""
    for name, value in sorted(found.items()):
        if value != BUILT_IN.get(name, "0"):
            shown = f"{int(value):,} ms" if value.isdecimal() else value
            text = f"the default of {name} is {shown}: overridden for our sessions"
            yield Check("session defaults", "note", text)


def _engine_tables(flaws: Sequence[str]) -> Check:
    return _check(
        "engine's tables",
        not flaws,
        "; ".join(flaws) or "as meshmetrics reads them",
        RESTORE,
    )


def _counts(counters: int, ledger: int) -> Check:
    return _check(
        "counts",
        counters == ledger,
        f"counters and ledger agree: {ledger:,} runs"
        if counters == ledger
        else f"the counters say {counters:,} runs, the ledger {ledger:,}: as after a restore of the"
        " schema public without meshmetrics, or the other way round",
        "`meshmetrics verify --repair`; how to restore both: docs/operations.md",
    )


def _statuses(unknown: Mapping[str, int]) -> Check:
    named = ", ".join(f"{status} ({runs:,} runs)" for status, runs in unknown.items())
    return _note(
        "statuses",
        not unknown,
        "each is mapped to an outcome",
        f"not mapped to an outcome, so not counted: {named}",
        "`meshmetrics statuses map STATUS OUTCOME`",
    )


def failure_checks(habits: EngineHabits) -> Iterator[Check]:
    """Where this engine's failures come from; nothing before its first run."""
    never = "this engine has never written `failed`"
    if not habits.has_runs:
        return
    if habits.writes_failures:
        yield Check("failures", "ok", "the engine writes them as statuses")
    elif habits.writes_events:
        text = f"{never}: failures are taken from events (abandoned runs)"
        yield Check("failures", "note", text)
    else:
        text = f"{never}, and there is no table workflow_events to take failures from"
        yield Check("failures", "note", text, "rates are 100 % until the engine writes one of them")


def _migrations(applied: dict[str, str] | None, release: int | None, schema: Schema) -> Check:
    wanted = schema.checksums
    there = {int(version): checksum for version, checksum in (applied or {}).items()}
    fix = "run `meshmetrics migrate`"
    if newer := sorted(there.keys() - wanted.keys()):
        text = f"the database is at migration {newer[-1]:04}, newer than this meshmetrics"
        return Check("migrations", "wrong", text, "install the newer meshmetrics")
    if missing := sorted(wanted.keys() - there.keys()):
        return Check("migrations", "wrong", f"{missing[0]:04} is not applied", fix)
    if there != wanted and release is not None and release > schema.release:
        text = (
            f"the database has newer functions (release {release}) than this meshmetrics"
            f" ({schema.release}): they are left as they are"
        )
        return Check("migrations", "note", text, "install the newer meshmetrics")
    if there != wanted:
        changed = min(v for v in wanted if there[v] != wanted[v])
        what = f"{changed:04} was changed" if changed else "functions are of another version"
        return Check("migrations", "wrong", what, fix)
    return Check("migrations", "ok", f"up to date ({max(wanted):04})")


def _daemon(lease: dict[str, Any] | None) -> Check:
    if lease is None:
        return Check("daemon", "note", "none has ever worked here", "start `meshmetrics run`")
    ago = f"{lease['seconds_ago']:,.0f} s ago"
    if lease["running"]:
        return Check("daemon", "ok", f"{lease['holder']} works; last sign of life {ago}")
    return Check(
        "daemon", "note", f"none works; the last was seen {ago}", "start `meshmetrics run`"
    )


async def _clock(database: Database) -> Check:
    """The difference between the database's clock and ours, by the quickest of a few answers."""
    looks = []
    for _ in range(5):
        began, before = time.monotonic(), datetime.now(UTC)
        theirs = await database.now()
        took = time.monotonic() - began
        looks.append((took, abs((theirs - before).total_seconds() - took / 2)))
    took, skew = min(looks)
    return _check(
        "clock",
        skew <= max(SKEW_SECONDS, took),
        f"{skew * 1000:,.0f} ms from the database's",
        "synchronise this machine's clock (NTP): tokens and latencies depend on it",
    )


async def _pooler(dsn: str) -> Check:
    what, _, fix = POOLER.partition(": ")
    found = await is_transaction_pooler(dsn)
    return _check("pooler", not found, what if found else "none between transactions", fix)


def _check(name: str, well: bool, text: str, fix: str) -> Check:
    return Check(name, "ok", text) if well else Check(name, "wrong", text, fix)


def _note(name: str, well: bool, good: str, bad: str, fix: str) -> Check:
    return Check(name, "ok", good) if well else Check(name, "note", bad, fix)
