"""The parameters of the REST API's operations."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from meshmetrics.api.http.as_caller import Page, Selection
from meshmetrics.api.http.problems import wrong

Range = Literal["1h", "24h", "7d", "30d", "90d", "365d"]
Bucket = Literal["auto", "minute", "quarter", "hour", "day", "week"]
Versions = Literal["all", "one", "newest"]
VERSIONS = (
    "`all`: all versions of each workflow; `one`: only the versions whose ids are in `workflow`;"
    " `newest`: only the newest version of each workflow"
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
MAX_IDS = 200

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+\- ]\d\d:\d\d)", re.ASCII
)
_TIME_TAKES = "a time with its offset (RFC 3339), such as 2026-11-23T18:00:00Z"


def _time(value: object) -> datetime:
    """A time with its offset. A `+` that a query string turned into a space is restored."""
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
    """Text that a column can store."""
    if "\0" in text:
        raise ValueError("text without the character U+0000")
    return text


Time = Annotated[
    datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})
]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]


class _Strict(BaseModel):
    """Refuses unknown parameters: a misspelt filter must not be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PeriodParameters(_Strict):
    """A period."""

    from_: Time | None = Field(
        None,
        alias="from",
        description="Start of the period, with its offset (RFC 3339). Not together with `range`",
    )
    to: Time | None = Field(
        None, description="End of the period. The default is now. Only together with `from`"
    )
    range: Range | None = Field(
        None, description="A period that ends now. The default is `24h`. Not together with `from`"
    )

    def period(self) -> tuple[datetime, datetime]:
        """Start and end; the database rounds them. Raises Problem."""
        if self.from_ is None:
            if self.to is not None:
                raise wrong("from", None, "a time before `to`; or send `range` instead of both")
            # Rounded to the minute, so that the response and its ETag stay the same within it.
            now = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
            return now - RANGES[self.range or "24h"], now
        if self.range is not None:
            raise wrong("range", self.range, "nothing together with `from`")
        to = self.to or datetime.now(UTC)
        if self.from_ >= to:
            raise wrong(
                "from", self.from_.isoformat(), f"a time before `to`, which is {to.isoformat()}"
            )
        return self.from_, to


class LiveParameters(PeriodParameters):
    """A period that a client may keep up to date by broadcasts."""

    live: bool = Field(
        False, description="Also return `held`, the counters to which broadcasts can be applied"
    )


class ChartParameters(LiveParameters):
    """A period, and how a chart divides it."""

    tz: Zone = Field(
        "UTC",
        description="Time zone of days, weeks and hours, by its IANA name",
        examples=["Asia/Kathmandu"],
    )
    bucket: Bucket = Field(
        "auto", description="Length of each point of the series; maximum 2,000 points"
    )


class WorkflowParameters(ChartParameters):
    """One workflow."""

    versions: Literal["all", "one"] = Field(
        "all", description="`all`: the sum of its versions; `one`: only the version with this id"
    )


Ids = Annotated[list[UUID], Field(max_length=MAX_IDS)]


class HistoryParameters(ChartParameters):
    """The series over all selected workflows."""

    project: Ids | None = Field(None, description="Only these projects (repeatable)")
    workflow: Ids | None = Field(
        None, description="Only these workflows, by the id of any of their versions (repeatable)"
    )
    versions: Versions = Field("all", description=VERSIONS)

    def selection(self) -> Selection:
        """As a parameter of the queries. Raises Problem."""
        return Selection(*self.period(), self.project, self.workflow, versions=self.versions)


class RecentParameters(_Strict):
    """The workflows whose last runs are returned."""

    project: Ids | None = Field(None, description="Only these projects (repeatable)")
    workflow: Ids | None = Field(
        None, description="Only these workflows, by the id of any of their versions (repeatable)"
    )
    most: int = Field(30, ge=1, le=100, description="Maximum number of runs per workflow")


class TableParameters(PeriodParameters):
    """The table of workflows: its rows and their order."""

    project: Ids | None = Field(None, description="Only these projects (repeatable)")
    workflow: Ids | None = Field(
        None, description="Only these workflows, by the id of any of their versions (repeatable)"
    )
    versions: Versions = Field("all", description=VERSIONS)
    search: Annotated[str, AfterValidator(_text)] | None = Field(
        None, max_length=200, description="Only workflows whose name or slug contains this"
    )
    group_by: Literal["workflow", "version"] = Field(
        "workflow", description="`workflow`: one row per workflow; `version`: one row per version"
    )
    failing: bool = Field(False, description="Only rows with failed runs")
    min_runs: int = Field(
        0, ge=0, le=10**9, description="Only rows with at least this many succeeded and failed runs"
    )
    sort: str = Field(
        "-failure_rate_low",
        description=(
            "Column; a leading `-` sorts in descending order. Rows without a value come last. The"
            " default is worst first, by the lower bound of the failure rate, so that one failed"
            " run does not rank above a workflow that fails often"
        ),
        json_schema_extra={"enum": [sign + name for name in SORTS for sign in ("", "-")]},
    )

    def selection(self) -> Selection:
        """As a parameter of the queries. Raises Problem."""
        search = self.search.strip() if self.search else None
        return Selection(
            *self.period(), self.project, self.workflow, search or None, versions=self.versions
        )

    def page(self, limit: int, after: tuple[float, str, UUID] | None) -> Page:
        """As a parameter of the queries. Raises Problem."""
        column = self.sort.removeprefix("-")
        if column not in SORTS:
            raise wrong(
                "sort", self.sort, "one of " + ", ".join(SORTS) + ", optionally with a leading -"
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

    def query(self, user_id: UUID) -> str:
        """Everything that must stay the same from page to page."""
        return f"{user_id} {self.model_dump_json(exclude={'limit', 'cursor'})}"


class SummaryParameters(LiveParameters, TableParameters):
    """A page of the table."""

    limit: int = Field(50, ge=1, le=500, description="Maximum number of rows on this page")
    cursor: str | None = Field(
        None,
        max_length=2000,
        description="`next` of the previous page; all other parameters unchanged",
    )
