"""What the REST API's operations take."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from meshmetrics.api.http.as_caller import Page, Wanted
from meshmetrics.api.http.problems import wrong

Range = Literal["1h", "24h", "7d", "30d", "90d", "365d"]
Bucket = Literal["auto", "minute", "quarter", "hour", "day", "week"]
Versions = Literal["all", "one", "newest"]
VERSIONS = (
    "`one`: only the very versions given as `workflow`, not all of theirs; `newest`: of each"
    " workflow only its newest"
)

RANGES: dict[str, timedelta] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
    "365d": timedelta(days=365),
}
SORTS = (
    "name",
    "slug",
    "version",
    "runs",
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
    "open",
    "overdue",
)
MOST_IDS = 200

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+\- ]\d\d:\d\d)", re.ASCII
)
_TIME_TAKES = "a time with its offset (RFC 3339), such as 2026-11-23T18:00:00Z"


def _time(value: object) -> datetime:
    """A time with its offset. A `+` that a query string turned into a space is put right."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(_TIME_TAKES)
    day, clock, fraction, offset = match.groups()
    offset = "+00:00" if offset in "Zz" else offset.replace(" ", "+")
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{(fraction or '')[:7]}{offset}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(_TIME_TAKES) from None


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("the IANA name of a time zone, such as Asia/Kathmandu")
    return name


def _text(text: str) -> str:
    """What a text column can hold."""
    if "\0" in text:
        raise ValueError("text without the character U+0000")
    return text


Time = Annotated[
    datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})
]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]


class _Strict(BaseModel):
    """Refuses parameters that it does not know: a misspelt filter must not be taken for none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PeriodParameters(_Strict):
    """Which period."""

    from_: Time | None = Field(
        None,
        alias="from",
        description="Begin of the period, with its offset (RFC 3339). Goes with `to`, not `range`",
    )
    to: Time | None = Field(None, description="End of the period; now, if only `from` is given")
    range: Range | None = Field(
        None, description="A period that ends now. Without `from` and `range`, the last 24 hours"
    )

    def period(self) -> tuple[datetime, datetime]:
        """From when to when, as asked for; the database rounds it. Raises Problem."""
        if self.from_ is None:
            if self.to is not None:
                raise wrong("from", None, "a time before `to`; or give `range` instead of both")
            # To the minute: the same answer, and so the same ETag, for the rest of it.
            now = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
            return now - RANGES[self.range or "24h"], now
        if self.range is not None:
            raise wrong("range", self.range, "nothing beside `from`")
        to = self.to or datetime.now(UTC)
        if self.from_ >= to:
            raise wrong(
                "from", self.from_.isoformat(), f"a time before `to`, which is {to.isoformat()}"
            )
        return self.from_, to


class LiveParameters(PeriodParameters):
    """A period that a screen may follow."""

    live: bool = Field(False, description="Also tell `held`, on which broadcasts can be applied")


class ChartParameters(LiveParameters):
    """A period, and how a chart divides it."""

    tz: Zone = Field(
        "UTC",
        description="Whose days, weeks and hours: the IANA name of a time zone",
        examples=["Asia/Kathmandu"],
    )
    bucket: Bucket = Field(
        "auto", description="Length of a point of the series; at most 2,000 points"
    )


class WorkflowParameters(ChartParameters):
    """One workflow."""

    versions: Literal["all", "one"] = Field(
        "all", description="`all`: its versions added up; `one`: only the version of this id"
    )


Ids = Annotated[list[UUID], Field(max_length=MOST_IDS)]


class HistoryParameters(ChartParameters):
    """The series over all."""

    project: Ids | None = Field(None, description="Only these projects (repeatable)")
    workflow: Ids | None = Field(
        None, description="Only these workflows, by the id of any of their versions (repeatable)"
    )
    versions: Versions = Field("all", description=VERSIONS)

    def wanted(self) -> Wanted:
        """As the database takes it. Raises Problem."""
        return Wanted(*self.period(), self.project, self.workflow, versions=self.versions)


class RecentParameters(_Strict):
    """Which workflows' last runs."""

    project: Ids | None = Field(None, description="Only these projects (repeatable)")
    workflow: Ids | None = Field(
        None, description="Only these workflows, by the id of any of their versions (repeatable)"
    )
    most: int = Field(30, ge=1, le=100, description="Most runs of each workflow")


class TableParameters(PeriodParameters):
    """The table of workflows: which rows, in which order."""

    project: Ids | None = Field(None, description="Only these projects (repeatable)")
    workflow: Ids | None = Field(
        None, description="Only these workflows, by the id of any of their versions (repeatable)"
    )
    versions: Versions = Field("all", description=VERSIONS)
    search: Annotated[str, AfterValidator(_text)] | None = Field(
        None, max_length=200, description="Only workflows with this in their name or slug"
    )
    group_by: Literal["workflow", "version"] = Field(
        "workflow", description="`version`: a row for each version, not their sum"
    )
    failing: bool = Field(False, description="Only rows with failed runs")
    min_runs: int = Field(
        0, ge=0, le=10**9, description="Only rows with so many succeeded and failed runs"
    )
    sort: str = Field(
        "-failure_rate_low",
        description=(
            "Column, `-` before it: descending. Rows without a value come last. The default is"
            " worst first, by the lower bound of the failure rate: one failed run does not stand"
            " above a workflow that is proven bad"
        ),
        json_schema_extra={"enum": [sign + name for name in SORTS for sign in ("", "-")]},
    )

    def wanted(self) -> Wanted:
        """As the database takes it. Raises Problem."""
        search = self.search.strip() if self.search else None
        return Wanted(
            *self.period(), self.project, self.workflow, search or None, versions=self.versions
        )

    def page(self, limit: int, after: tuple[float, str, UUID] | None) -> Page:
        """As the database takes it. Raises Problem."""
        column = self.sort.removeprefix("-")
        if column not in SORTS:
            raise wrong(
                "sort", self.sort, "one of " + ", ".join(SORTS) + ", with - before it or not"
            )
        return Page(
            group_by=self.group_by,
            only_failing=self.failing,
            min_runs=self.min_runs,
            sort_by=column,
            descending=self.sort.startswith("-"),
            limit=limit,
            after=after,
        )

    def question(self, user_id: UUID) -> str:
        """What has to stay the same from page to page."""
        return f"{user_id} {self.model_dump_json(exclude={'limit', 'cursor'})}"


class SummaryParameters(LiveParameters, TableParameters):
    """A page of the table."""

    limit: int = Field(50, ge=1, le=500, description="Most rows of this page")
    cursor: str | None = Field(
        None, max_length=2000, description="`next` of the page before; all else unchanged"
    )
