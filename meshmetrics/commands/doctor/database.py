"""Checks of the database: version, schema, privileges, and how far counting is."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from meshmetrics.auditing.model import EngineHabits
from meshmetrics.commands.connecting import RESTORE, Connected
from meshmetrics.commands.doctor.check import Check, advised, required
from meshmetrics.database.packaged_sql import Schema, packaged_schema
from meshmetrics.database.reachability import POOLER, is_transaction_pooler
from meshmetrics.database.store import Database

OLDEST_POSTGRES = 150000
SKEW_SECONDS = 2.0
BUILT_IN = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
}
"""Defaults of Postgres; those of timeouts are 0."""


async def checks(stores: Connected) -> AsyncIterator[Check]:
    """The checks of our schema, the engine's tables and its statuses.

    What a role may not read raises, after the checks that say so.
    """
    for check in condition_checks(await stores.audits.condition(), packaged_schema()):
        yield check
    yield _engine_tables(await stores.counting.source_flaws())
    yield _counts(*await stores.audits.counted_totals())
    yield _statuses(await stores.counting.unknown_statuses())


def condition_checks(condition: dict[str, Any], schema: Schema) -> Iterator[Check]:
    """One check per part of the database's condition (condition.sql)."""
    version = condition["server_version"]
    yield required(
        "database version",
        version >= OLDEST_POSTGRES,
        f"Postgres {version // 10000}.{version % 10000}",
        "upgrade to Postgres 15 or newer",
    )
    standby = condition["is_standby"]
    yield required(
        "primary",
        not standby,
        "DATABASE_URL leads to a read-only standby" if standby else "accepts writes",
        "use the connection string of the primary",
    )
    yield from _defaults(condition["defaults"])
    yield _migrations(condition["migrations"], condition["release"], schema)
    missing = condition["not_executable"]
    yield required(
        "grants",
        not missing,
        f"may not execute {', '.join(missing)}"
        if missing
        else "the daemon has the privileges it needs",
        "grant meshmetrics_worker to the role in DATABASE_URL",
    )
    open_tables = condition["without_row_security"]
    yield required(
        "privacy",
        not open_tables and condition["channel_policy"] and condition["tenants_read"],
        "tenants see their own projects"
        if not open_tables and condition["channel_policy"] and condition["tenants_read"]
        else "row-level security, grants or the channel's policy differ from the migrated ones",
        "run `meshmetrics migrate --print` and apply it again: policies.sql and privileges.sql",
    )
    yield advised(
        "REST API",
        condition["becomes_tenants"],
        "can read as the caller",
        "cannot switch to the role authenticated, so every request fails with 500",
        "grant authenticated to the role in DATABASE_URL",
    )
    yield required(
        "publication",
        condition["published"] and condition["wal_level"] == "logical",
        "workflow_runs is published with inserts and updates"
        if condition["published"] and condition["wal_level"] == "logical"
        else f"no changes reach Realtime (wal_level {condition['wal_level']})",
        "alter publication supabase_realtime add table public.workflow_runs;"
        " with wal_level = logical",
    )
    yield required(
        "index",
        condition["index_valid"] is True,
        {None: "workflow_runs_updated_at_id is missing", False: "the index is invalid"}.get(
            condition["index_valid"], "present and valid"
        ),
        "run `meshmetrics migrate`: it builds the index without blocking writes",
    )
    yield advised(
        "long transactions",
        condition["sees_transactions"],
        "visible: sweeps wait for them",
        f"not visible to {condition['owner']}, the owner of meshmetrics' functions: sweeps go back"
        " by MESHMETRICS_SWEEP_OVERLAP, and the first back-fill waits that long",
        f"grant pg_read_all_stats to {condition['owner']}; or keep MESHMETRICS_SWEEP_OVERLAP above"
        " the longest transaction",
    )
    yield advised(
        "back-fill",
        condition["backfill_done"],
        "done",
        "not done yet",
        "leave it to the daemon, or run `meshmetrics backfill`",
    )
    yield advised(
        "set aside",
        not condition["set_aside"],
        "no run",
        f"{condition['set_aside']} runs cannot be counted",
        "`meshmetrics verify` lists them with the reasons",
    )
    yield _daemon(condition["lease"])


def _defaults(defaults: Mapping[str, str]) -> Iterator[Check]:
    """The defaults of role, database or server that would keep a session from counting."""
    for name, value in sorted(defaults.items()):
        if value != BUILT_IN.get(name, "0"):
            shown = f"{int(value):,} ms" if value.isdecimal() else value
            text = f"the default of {name} is {shown}: overridden for our sessions"
            yield Check("session defaults", "note", text)


def _counts(counters: int, ledger: int) -> Check:
    return required(
        "counts",
        counters == ledger,
        f"counters and ledger agree: {ledger:,} runs"
        if counters == ledger
        else f"the counters say {counters:,} runs, the ledger {ledger:,}: as after a restore of the"
        " schema public without meshmetrics, or vice versa",
        "`meshmetrics verify --repair`; docs/backup-and-restore.md says how to restore both",
    )


def _engine_tables(flaws: Sequence[str]) -> Check:
    return required(
        "engine's tables",
        not flaws,
        "; ".join(flaws) or "as meshmetrics expects them",
        RESTORE,
    )


def _statuses(unknown: Mapping[str, int]) -> Check:
    named = ", ".join(f"{status} ({runs:,} runs)" for status, runs in unknown.items())
    return advised(
        "statuses",
        not unknown,
        "every status is mapped to an outcome",
        f"not mapped to an outcome, so their runs are not counted: {named}",
        "`meshmetrics statuses map STATUS OUTCOME`",
    )


def failure_checks(habits: EngineHabits) -> Iterator[Check]:
    """How this engine reports failures; empty before its first run."""
    never = "this engine has never written `failed`"
    if not habits.has_runs:
        return
    if habits.writes_failures:
        yield Check("failures", "ok", "the engine writes them as statuses")
    elif habits.writes_events:
        text = f"{never}: failures are read from events (abandoned runs)"
        yield Check("failures", "note", text)
    else:
        text = f"{never}, and there is no table workflow_events to read failures from"
        yield Check(
            "failures", "note", text, "every rate is 100 % until the engine writes one of them"
        )


def _migrations(recorded: dict[str, str] | None, release: int | None, schema: Schema) -> Check:
    expected = schema.checksums
    applied = {int(version): checksum for version, checksum in (recorded or {}).items()}
    fix = "run `meshmetrics migrate`"
    if newer := sorted(applied.keys() - expected.keys()):
        text = f"the database is at migration {newer[-1]:04}, newer than this meshmetrics"
        return Check("migrations", "wrong", text, "install the newer meshmetrics")
    if missing := sorted(expected.keys() - applied.keys()):
        return Check("migrations", "wrong", f"{missing[0]:04} is not applied", fix)
    if applied != expected and release is not None and release > schema.release:
        text = (
            f"the database has newer functions (release {release}) than this meshmetrics"
            f" ({schema.release}): they stay as they are"
        )
        return Check("migrations", "note", text, "install the newer meshmetrics")
    if applied != expected:
        changed = min(v for v in expected if applied[v] != expected[v])
        what = f"{changed:04} was changed" if changed else "functions are of another version"
        return Check("migrations", "wrong", what, fix)
    return Check("migrations", "ok", f"up to date ({max(expected):04})")


def _daemon(lease: dict[str, Any] | None) -> Check:
    if lease is None:
        return Check(
            "daemon", "note", "none has run on this database yet", "start `meshmetrics run`"
        )
    ago = f"{lease['seconds_ago']:,.0f} s ago"
    if lease["running"]:
        return Check("daemon", "ok", f"{lease['holder']} is active; it renewed the lease {ago}")
    return Check(
        "daemon",
        "note",
        f"none is active; the last one renewed the lease {ago}",
        "start `meshmetrics run`",
    )


async def clock(database: Database) -> Check:
    """The difference between the database's clock and ours, by the fastest of a few answers."""
    measurements = []
    for _ in range(5):
        began, before = time.monotonic(), datetime.now(UTC)
        theirs = await database.now()
        took = time.monotonic() - began
        measurements.append((took, abs((theirs - before).total_seconds() - took / 2)))
    took, skew = min(measurements)
    return required(
        "clock",
        skew <= max(SKEW_SECONDS, took),
        f"{skew * 1000:,.0f} ms from the database's",
        "synchronise this machine's clock (NTP): tokens and latencies depend on it",
    )


async def pooler(dsn: str) -> Check:
    """Whether an unnamed transaction pooler is in front of the database."""
    what, _, fix = POOLER.partition(": ")
    found = await is_transaction_pooler(dsn)
    return required("pooler", not found, what if found else "none between transactions", fix)
