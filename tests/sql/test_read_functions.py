"""The read functions against a plain `group by`, on random runs, zones and periods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from operator import itemgetter
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshmetrics.counting.store import CountingStore
from tests.sql.reading import (
    NOTHING,
    Run,
    insert_and_count,
    labels,
    numbers,
    plain_by,
    plain_series,
    plain_total,
    read,
)
from tests.support import Project, Workflow, make_project, make_workflow

ZONES = [
    "UTC",
    "Asia/Kathmandu",  # +5:45
    "Australia/Lord_Howe",  # its clock moves by half an hour
    "America/New_York",
    "Africa/Casablanca",  # its clock moves with Ramadan
    "Pacific/Chatham",  # +12:45 and +13:45
    "Atlantic/Azores",  # a midnight that comes twice
    "America/Havana",  # midnights that come twice, or not at all
    "Africa/Cairo",
    "Antarctica/Troll",  # its clock moves by two hours
    "Pacific/Apia",
]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

# Anything to a second, and what lies near the edges of buckets.
ages = st.one_of(
    st.integers(0, 47 * 60).map(lambda m: m * MINUTE),
    st.integers(0, 398 * 96).map(lambda q: q * 15 * MINUTE),
    st.integers(0, 398 * 24 * 60).map(lambda m: m * MINUTE),
    st.integers(0, 398 * 86400).map(lambda s: timedelta(seconds=s)),
)
lengths = st.one_of(
    st.integers(1, 300).map(lambda m: m * MINUTE),
    st.integers(1, 400).map(lambda q: q * 15 * MINUTE),
    st.integers(1, 200).map(lambda d: d * DAY),
    st.integers(1, 90 * 86400).map(lambda s: timedelta(seconds=s)),
)


@st.composite
def periods(draw: st.DrawFn) -> tuple[datetime, datetime]:
    """Ends in the past 13 months, begins before that; nearly all of it still kept in quarters."""
    ends_at = TODAY + DAY - draw(ages)
    starts_at = max(ends_at - draw(lengths), TODAY - 398 * DAY)
    return min(starts_at, ends_at - MINUTE), ends_at


# Where a run is put: a part of the period before, of the period, or a little beside its edges.
places = st.one_of(
    st.floats(-1.05, 1.05),
    st.tuples(st.sampled_from([-1.0, 0.0, 1.0]), st.integers(-1000, 1000)),
)
runs = st.lists(
    st.tuples(places, st.sampled_from(["succeeded", "failed", "canceled"]), st.integers(0, 2)),
    max_size=25,
)
examples = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

Drawn = list[tuple[Any, str, int]]


async def tenant(
    owner: asyncpg.Connection, store: CountingStore, period: tuple[datetime, datetime], drawn: Drawn
) -> tuple[Project, list[Workflow]]:
    """A project of its own for this example: two workflows, one of them in two versions."""
    project = await make_project(owner)
    flows = [
        await make_workflow(owner, project, "orders", version=1, name="Orders"),
        await make_workflow(owner, project, "orders", version=2, name="All orders"),
        await make_workflow(owner, project, "mail", name="Mail"),
    ]
    starts_at, ends_at = period
    made = []
    for place, status, flow in drawn:
        if isinstance(place, tuple):
            at = starts_at + place[0] * (ends_at - starts_at) + timedelta(seconds=place[1])
        else:
            at = starts_at + place * (ends_at - starts_at)
        made.append(Run(flows[flow], status, at))
    await insert_and_count(owner, store, project, made)
    return project, flows


def rounded_as_promised(asked: datetime, told: datetime, *, down: bool) -> bool:
    """Towards the outside, and by less than the finest unit that may still be kept there."""
    moved = asked - told if down else told - asked
    return timedelta(0) <= moved < 15 * MINUTE and told.second == told.microsecond == 0


@examples
@given(period=periods(), drawn=runs)
async def test_totals_are_the_runs_of_the_period_and_of_the_one_before(
    owner: asyncpg.Connection, store: CountingStore, period: tuple[datetime, datetime], drawn: Drawn
) -> None:
    project, flows = await tenant(owner, store, period, drawn)
    (row,) = await read(owner, project.owner, "totals($1, $2)", *period)
    assert rounded_as_promised(period[0], row["starts_at"], down=True)
    assert rounded_as_promised(period[1], row["ends_at"], down=False)
    length = row["ends_at"] - row["starts_at"]
    before = row["starts_at"] - length
    assert row["previous_starts_at"] <= before
    if before >= TODAY - 398 * DAY:
        assert row["previous_starts_at"] == before

    spans = {"": (row["starts_at"], row["ends_at"])}
    spans["previous_"] = (row["previous_starts_at"], row["starts_at"])
    for prefix, span in spans.items():
        plain = await plain_total(owner, *span, [project.id])
        assert numbers(row, prefix) == plain
        finished = plain[0] + plain[1]
        assert row[prefix + "success_rate"] == (plain[0] / finished if finished else None)
    if None not in (row["success_rate"], row["previous_success_rate"]):
        change = row["success_rate"] - row["previous_success_rate"]
        assert row["success_rate_change"] == pytest.approx(change)

    # The same by workflow, which reads other buckets.
    (by_id,) = await read(
        owner, project.owner, "totals($1, $2, workflow_ids => $3)", *period, [f.id for f in flows]
    )
    assert tuple(by_id) == tuple(row)


def refused(bucket: str, starts_at: datetime, ends_at: datetime) -> bool:
    """Whether buckets are no longer kept from then on, or would be too many."""
    now = datetime.now(UTC)
    length = {"minute": MINUTE, "quarter": 15 * MINUTE, "hour": HOUR}.get(bucket, DAY)
    if bucket == "minute" and starts_at < now - 47 * HOUR - 45 * MINUTE:
        return True
    return (ends_at - starts_at) / length > 2000


@examples
@given(
    period=periods(),
    drawn=runs,
    zone=st.sampled_from(ZONES),
    bucket=st.sampled_from(["auto", "minute", "quarter", "hour", "day", "week"]),
    one=st.booleans(),
)
async def test_a_series_is_the_runs_of_each_local_hour_day_or_week(
    owner: asyncpg.Connection,
    store: CountingStore,
    period: tuple[datetime, datetime],
    drawn: Drawn,
    zone: str,
    bucket: str,
    one: bool,
) -> None:
    project, flows = await tenant(owner, store, period, drawn)
    wanted = [flows[0].id] if one else None
    counted = [flows[0].id, flows[1].id] if one else None
    call = "series($1, $2, $3, $4, workflow_ids => $5)"
    arguments = (*period, bucket, zone, wanted)
    (totals,) = await read(owner, project.owner, "totals($1, $2)", *period)
    starts_at, ends_at = totals["starts_at"], totals["ends_at"]
    if refused(bucket, starts_at, ends_at):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="bucket is"):
            await read(owner, project.owner, call, *arguments)
        return
    rows = await read(owner, project.owner, call, *arguments)
    chosen = rows[0]["bucket"]
    assert bucket in (chosen, "auto")

    # Without gaps, from the first moment to the last.
    edges = [row["starts_at"] for row in rows] + [ends_at]
    assert edges[0] == starts_at
    assert [row["ends_at"] for row in rows] == edges[1:]
    assert all(a < b for a, b in pairwise(edges))

    if chosen in ("minute", "quarter"):
        step = MINUTE if chosen == "minute" else 15 * MINUTE
        assert all(row["partial"] or row["ends_at"] - row["starts_at"] == step for row in rows)
        for row in rows:
            if numbers(row) != NOTHING:
                plain = await plain_total(
                    owner, row["starts_at"], row["ends_at"], [project.id], counted
                )
                assert numbers(row) == plain
        plain = await plain_total(owner, starts_at, ends_at, [project.id], counted)
        assert tuple(map(sum, zip(*map(numbers, rows), strict=True))) == plain
        return

    await assert_local(owner, rows, (starts_at, ends_at), project, counted, zone)


async def assert_local(
    owner: asyncpg.Connection,
    rows: Sequence[asyncpg.Record],
    period: tuple[datetime, datetime],
    project: Project,
    counted: list[UUID] | None,
    zone: str,
) -> None:
    """Each row is one hour, day or week of the local calendar, no other is the same, and it has
    the runs that a plain `group by` puts there."""
    bucket = rows[0]["bucket"]
    begins = await labels(owner, [row["starts_at"] for row in rows], bucket, zone)
    ends = await labels(owner, [row["ends_at"] - MICROSECOND for row in rows], bucket, zone)
    assert begins == ends
    assert len(set(begins)) == len(begins)
    assert all(not row["partial"] for row in rows[1:-1])
    plain_rows = await plain_series(owner, *period, [project.id], counted, bucket, zone)
    found = {b: numbers(row) for b, row in zip(begins, rows, strict=True)}
    assert {label: n for label, n in found.items() if n != NOTHING} == plain_rows


@pytest.mark.parametrize("zone", ZONES)
async def test_hours_days_and_weeks_are_right_whenever_the_clocks_change(
    owner: asyncpg.Connection, store: CountingStore, zone: str
) -> None:
    changes = await owner.fetch(
        "select t from generate_series($1::timestamptz, $2::timestamptz, interval '15 minutes') t"
        " where t at time zone $3 - (t - interval '15 minutes') at time zone $3"
        "       <> interval '15 minutes'",
        TODAY - 395 * DAY,
        TODAY - DAY,
        zone,
    )
    assert changes or zone in ("UTC", "Asia/Kathmandu", "Pacific/Apia")
    project = await make_project(owner)
    flow = await make_workflow(owner, project)
    for (change,) in changes:
        period = (change - 40 * HOUR, change + 40 * HOUR)
        runs = [Run(flow, "failed", period[0] + n * 15 * MINUTE) for n in range(320)]
        await insert_and_count(owner, store, project, runs)
        for bucket in ("hour", "day", "week"):
            rows = await read(owner, project.owner, "series($1, $2, $3, $4)", *period, bucket, zone)
            assert sum(row["failure_count"] for row in rows) == 320
            await assert_local(owner, rows, period, project, None, zone)
        await owner.execute("delete from public.workflow_definitions where id = $1", flow.id)
        flow = await make_workflow(owner, project)


@examples
@given(period=periods(), drawn=runs, versions=st.booleans(), failing=st.booleans())
async def test_the_summary_has_a_row_for_each_workflow_or_version(
    owner: asyncpg.Connection,
    store: CountingStore,
    period: tuple[datetime, datetime],
    drawn: Drawn,
    versions: bool,
    failing: bool,
) -> None:
    project, flows = await tenant(owner, store, period, drawn)
    rows = await read(
        owner, project.owner, "summary($1, $2, group_by => $3, only_failing => $4)",
        *period, "version" if versions else "workflow", failing,
    )  # fmt: skip
    key = "d.id" if versions else "d.slug"
    keys: set[Any] = {f.id if versions else f.slug for f in flows}
    (totals,) = await read(owner, project.owner, "totals($1, $2)", *period)
    spans = {
        "": (totals["starts_at"], totals["ends_at"]),
        "previous_": (totals["previous_starts_at"], totals["starts_at"]),
    }
    plain = {p: await plain_by(owner, key, *span, [project.id]) for p, span in spans.items()}
    if failing:
        keys = {k for k in keys if plain[""].get(k, NOTHING)[1] > 0}
    column = "workflow_id" if versions else "slug"
    assert {row[column] for row in rows} == keys
    for row in rows:
        for prefix in spans:
            assert numbers(row, prefix) == plain[prefix].get(row[column], NOTHING)
        assert row["matching"] == row["remaining"] == len(rows)
    worst_first = [-1 if r["failure_rate_low"] is None else r["failure_rate_low"] for r in rows]
    assert worst_first == sorted(worst_first, reverse=True)


@examples
@given(period=periods(), drawn=runs, index=st.integers(0, 2), one=st.booleans())
async def test_a_workflow_is_all_its_versions_or_one(
    owner: asyncpg.Connection,
    store: CountingStore,
    period: tuple[datetime, datetime],
    drawn: Drawn,
    index: int,
    one: bool,
) -> None:
    project, flows = await tenant(owner, store, period, drawn)
    flow = flows[index]
    alike = [flow.id] if one else [f.id for f in flows if f.slug == flow.slug]
    (row,) = await read(
        owner, project.owner, "workflow($1, $2, $3, $4)", flow.id, *period, "one" if one else "all"
    )
    ever = (datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
    assert numbers(row, "total_") == await plain_total(owner, *ever, [project.id], alike)
    assert numbers(row) == await plain_total(
        owner, row["starts_at"], row["ends_at"], [project.id], alike
    )
    assert numbers(row, "previous_") == await plain_total(
        owner, row["previous_starts_at"], row["starts_at"], [project.id], alike
    )
    assert (row["slug"], row["versions"]) == (flow.slug, len(alike))
    assert row["latest_id"] == (flow.id if one else alike[-1])
    assert row["name"] == {"mail": "Mail", "orders": "All orders"}[flow.slug] or one


@examples
@given(period=periods(), drawn=runs, chosen=st.booleans())
async def test_the_newest_versions_alone_are_the_same_in_the_table_the_totals_and_over_time(
    owner: asyncpg.Connection,
    store: CountingStore,
    period: tuple[datetime, datetime],
    drawn: Drawn,
    chosen: bool,
) -> None:
    project, (first, second, mail) = await tenant(owner, store, period, drawn)
    wanted = [first.id] if chosen else None  # by any of its versions
    expected = {second.id} if chosen else {second.id, mail.id}
    arguments = "workflow_ids => $3, version_mode => 'newest'"
    (totals,) = await read(owner, project.owner, f"totals($1, $2, {arguments})", *period, wanted)
    plain = await plain_total(
        owner, totals["starts_at"], totals["ends_at"], [project.id], list(expected)
    )
    assert (numbers(totals), totals["workflows"]) == (plain, len(expected))
    rows = await read(
        owner, project.owner, f"summary($1, $2, {arguments}, group_by => 'version')",
        *period, wanted,
    )  # fmt: skip
    assert {row["workflow_id"] for row in rows} == expected
    points = await read(
        owner, project.owner, f"series($1, $2, 'auto', 'UTC', {arguments})", *period, wanted
    )
    for found in (rows, points):
        sums = zip(*(numbers(row) for row in found), strict=True)
        assert tuple(sum(one) for one in sums) == plain
    versions = await read(
        owner, project.owner, "versions(null, $1, version_mode => 'newest')", wanted
    )
    assert {row["workflow_id"] for row in versions} == expected


async def test_beyond_400_days_days_are_whole_utc_days_and_nothing_is_lost(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    project = await make_project(owner)
    flow = await make_workflow(owner, project)
    old = TODAY - 700 * DAY
    moments = [old + n * 7 * HOUR for n in range(500)] + [
        TODAY - 300 * DAY + n * HOUR for n in range(50)
    ]
    await insert_and_count(owner, store, project, [Run(flow, "failed", at) for at in moments])
    asked = (old + 5 * HOUR, TODAY)
    (row,) = await read(owner, project.owner, "totals($1, $2)", *asked)
    assert (row["starts_at"], row["ends_at"]) == (old, TODAY)
    assert row["failure_count"] == len(moments)
    rows = await read(owner, project.owner, "series($1, $2, 'day', 'Asia/Kathmandu')", *asked)
    assert sum(r["failure_count"] for r in rows) == len(moments)
    for r in rows:
        plain = await plain_total(owner, r["starts_at"], r["ends_at"], [project.id])
        assert numbers(r) == plain
    first_exact = next(r for r in rows if r["starts_at"] > TODAY - 398 * DAY)
    assert (first_exact["starts_at"].hour, first_exact["starts_at"].minute) == (18, 15)


def wilson(successes: int, trials: int) -> tuple[Decimal, Decimal]:
    """The bounds as the roots of (p - rate)² = z² p (1 - p) / n: the other way to write them."""
    z, rate = Decimal("1.959964"), Decimal(successes) / trials
    a = 1 + z * z / trials
    b = -(2 * rate + z * z / trials)
    root = (b * b - 4 * a * rate * rate).sqrt()
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


@pytest.mark.parametrize(
    ("successes", "trials"),
    [(0, 1), (1, 1), (1, 2), (0, 10), (9, 10), (10, 10), (486, 500), (10**9, 10**9 + 1)],
)
async def test_the_bounds_are_wilsons(
    owner: asyncpg.Connection, successes: int, trials: int
) -> None:
    row = await owner.fetchrow(
        "select low, high from meshmetrics_parts.wilson_interval($1, $2)", successes, trials
    )
    assert row is not None
    bounds = tuple(map(float, wilson(successes, trials)))
    assert tuple(row) == pytest.approx(bounds, abs=1e-12)
    assert 0 <= row["low"] <= successes / trials <= row["high"] <= 1


async def test_there_are_no_bounds_without_runs(owner: asyncpg.Connection) -> None:
    row = await owner.fetchrow("select low, high from meshmetrics_parts.wilson_interval(0, 0)")
    assert row is not None
    assert tuple(row) == (None, None)


SORTS: dict[str, Callable[[asyncpg.Record], Any]] = {
    "name": lambda row: row["name"].lower(),
    "slug": lambda row: row["slug"].lower(),
    "runs": lambda row: sum(numbers(row)),
} | {
    column: itemgetter(column)
    for column in (
        "version",
        "success_count",
        "failure_count",
        "canceled_count",
        "success_rate",
        "success_rate_low",
        "failure_rate",
        "failure_rate_low",
        "success_rate_change",
        "last_success_at",
        "last_failure_at",
    )
}


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_in_any_order_put_together_are_the_whole_table_once(
    owner: asyncpg.Connection, store: CountingStore, descending: bool
) -> None:
    project = await make_project(owner)
    made: list[Run] = []
    for n in range(23):
        flow = await make_workflow(owner, project, f"flow-{n}", name="ABCabcÄß"[n % 8] * 2)
        for m in range(n % 5):
            age = (1 + 20 * (m % 2)) * HOUR
            made.append(
                Run(flow, ["succeeded", "failed", "canceled"][(n + m) % 3], TODAY + 2 * HOUR - age)
            )
    await insert_and_count(owner, store, project, made)
    period = (TODAY - 10 * HOUR, TODAY + 10 * HOUR)
    for column, key in SORTS.items():
        pages: list[Sequence[asyncpg.Record]] = []
        after: tuple[Any, ...] = (None, None, None)
        while not pages or pages[-1][0]["remaining"] > len(pages[-1]):
            pages.append(
                await read(
                    owner, project.owner,
                    "summary($1, $2, sort_by => $3, descending => $4, max_rows => 5,"
                    " after_number => $5, after_text => $6, after_id => $7)",
                    *period, column, descending, *after,
                )
            )  # fmt: skip
            last = pages[-1][-1]
            after = (last["sort_number"], last["sort_text"], last["workflow_id"])
        rows = [row for page in pages for row in page]
        assert len({row["workflow_id"] for row in rows}) == len(rows) == 23
        with_value = [row for row in rows if key(row) is not None]
        assert rows[: len(with_value)] == with_value, f"{column}: rows without a value come last"
        values = [key(row) for row in with_value]
        assert values == sorted(values, reverse=descending), column


async def test_search_finds_a_workflow_by_any_versions_name_or_slug_and_takes_nothing_for_a_pattern(
    owner: asyncpg.Connection,
) -> None:
    project = await make_project(owner)
    await make_workflow(owner, project, "orders", version=1, name="Orders (old)")
    await make_workflow(owner, project, "orders", version=2, name="Bestellungen")
    await make_workflow(owner, project, "100%_mail", name="Mail")

    async def found(search: str) -> set[tuple[str, int]]:
        rows = await read(
            owner, project.owner, "summary(now() - interval '1 day', now(), search => $1)", search
        )
        return {(row["slug"], row["versions"]) for row in rows}

    assert await found("(OLD") == {("orders", 2)}
    assert await found("bestell") == {("orders", 2)}
    assert await found("%_") == {("100%_mail", 1)}
    assert await found("_") == {("100%_mail", 1)}
    assert await found("' or true --") == set()
