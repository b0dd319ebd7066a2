"""What an alert rule is: its fields with their defaults and bounds, and the words of its states."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Note = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]
Severity = Literal["info", "warning", "critical"]
State = Literal[
    "ok", "insufficient", "pending", "firing", "recovering", "flapping", "no_data", "silenced"
]
Cause = Literal["rate", "count", "consecutive", "no_data", "overdue", "open"]
Metric = Literal[
    "success_rate",
    "failure_rate",
    "failure_count",
    "consecutive_failures",
    "no_runs",
    "overdue_count",
    "open_too_long",
]
Scope = Literal["workflow", "project"]
Comparison = Literal["below", "above"]
Method = Literal["wilson", "plain"]
OF_OPEN_RUNS = ("overdue_count", "open_too_long")
"""Metrics of the runs that are open now. They have no window and no history for a preview."""
Slug = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]


class Body(BaseModel):
    """A request body. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


def unfit(parameter: str, takes: str) -> PydanticCustomError:
    """The error of a field that contradicts another field."""
    return PydanticCustomError("unfit", "{takes}", {"parameter": parameter, "takes": takes})


class RuleFields(Body):
    """The fields of a rule, their defaults and their bounds.

    The only place where they stand: the database has the same (a test compares), and OpenAPI and
    the dashboard's types follow from here.
    """

    name: Name
    enabled: bool = True
    severity: Severity = "warning"
    scope: Scope = Field(default="workflow", description="`project`: all of its workflows together")
    workflow_slug: Slug | None = Field(
        default=None, description="null: every workflow of the project, one by one"
    )
    metric: Metric = "success_rate"
    comparison: Comparison | None = Field(
        default=None,
        description="Which side of the threshold opens an incident; null: the worse one",
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="A share, a count, or seconds for `open_too_long`; null: 0.95, or 0 for"
        " `overdue_count`",
    )
    window_seconds: int = Field(default=86_400, ge=300, le=2_592_000)
    window_min_runs: int = Field(
        default=20, ge=0, le=100, description="The window is extended until it has this many runs"
    )
    min_runs: int = Field(
        default=5, ge=1, le=10_000, description="Minimum runs before a rate is judged"
    )
    method: Method = "wilson"
    consecutive: int = Field(
        default=3,
        ge=0,
        le=100,
        description="Consecutive failures that open an incident whatever the rate. 0 disables this",
    )
    recovery_threshold: float | None = Field(default=None, ge=0, le=1_000_000)
    recovery_runs: int = Field(default=10, ge=1, le=1000)
    reopen_within_seconds: int = Field(default=86_400, ge=0, le=2_592_000)
    repeat_every_seconds: int = Field(
        default=86_400, ge=0, le=2_592_000, description="Time between reminders. 0 disables them"
    )
    no_data_after_seconds: int | None = Field(
        default=None,
        ge=60,
        le=31_536_000,
        description="For `no_runs`: the time without a finished run",
    )
    deadline_seconds: int | None = Field(
        default=None,
        ge=60,
        le=31_536_000,
        description="For `overdue_count`: how long a run may be open. null: three times the 99th"
        " percentile of the workflow's durations, at least 15 minutes",
    )
    silenced_until: AwareDatetime | None = None
    silence_reason: Note | None = None
    notify_resolved: bool = True
    channel_ids: list[UUID] | None = Field(
        default=None, max_length=50, description="null: all channels of the project"
    )

    @model_validator(mode="after")
    def _fits(self) -> RuleFields:
        rate = self.metric in ("success_rate", "failure_rate")
        if self.threshold is None:
            if self.metric in ("failure_rate", "failure_count", "open_too_long"):
                raise unfit("threshold", "a threshold, with this metric")
            self.threshold = 0 if self.metric == "overdue_count" else 0.95
        if self.comparison is None:
            self.comparison = "below" if self.metric == "success_rate" else "above"
        if self.metric in OF_OPEN_RUNS and self.comparison == "below":
            raise unfit("comparison", "above or null, of open runs")
        if self.metric != "overdue_count" and self.deadline_seconds is not None:
            raise unfit("deadline_seconds", "a time with overdue_count, null with other metrics")
        if rate and self.threshold > 1:
            raise unfit("threshold", "a share from 0 to 1, of a rate")
        if rate and (self.recovery_threshold or 0) > 1:
            raise unfit("recovery_threshold", "a share from 0 to 1, of a rate")
        if 0 < self.repeat_every_seconds < 300:
            raise unfit("repeat_every_seconds", "0, or 300 seconds and more")
        if self.scope == "project" and self.workflow_slug is not None:
            raise unfit("workflow_slug", "null with the scope project")
        if self.metric == "consecutive_failures" and self.consecutive == 0:
            raise unfit("consecutive", "1 and more with consecutive_failures")
        if (self.metric == "no_runs") != (self.no_data_after_seconds is not None):
            raise unfit("no_data_after_seconds", "a time with no_runs, null with other metrics")
        return self
