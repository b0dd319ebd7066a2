"""Every setting, with its unit and bounds. Read once (settings_load.py); the parts get only their
slice."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from meshmetrics.settings import checks

PREFIX = "MESHMETRICS_"


def _seconds(default: float, at_least: float, at_most: float, description: str) -> Any:
    takes = f"seconds, from {at_least:,} to {at_most:,}"
    return Field(
        default=default,
        ge=at_least,
        le=at_most,
        description=description,
        json_schema_extra={"takes": takes},
    )


class DatabaseSettings(BaseSettings):
    """What is needed to reach the database: from the environment and `.env`, the former wins."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    database_url: Annotated[SecretStr, AfterValidator(checks.database_url)] = Field(
        validation_alias="DATABASE_URL",
        description="Where the database is: `postgresql://user:password@host:port/database`",
    )


class Settings(DatabaseSettings):
    """All that the daemon needs."""

    supabase_url: Annotated[str, AfterValidator(checks.http_url)] = Field(
        validation_alias="SUPABASE_URL",
        json_schema_extra={"takes": "an http(s) URL"},
        description="The project's address, such as `https://abcdefgh.supabase.co`",
    )
    supabase_secret_key: Annotated[SecretStr, AfterValidator(checks.secret_keys)] = Field(
        validation_alias=AliasChoices("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"),
        description="The project's secret key (`sb_secret_…`, or the older `service_role` key)."
        " Several with commas between while you rotate them: after a 401 the next one is used",
    )
    supabase_publishable_key: Annotated[str, AfterValidator(checks.public_key)] | None = Field(
        default=None,
        json_schema_extra={"takes": "a public key"},
        validation_alias=AliasChoices("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY"),
        description="The project's publishable key (`sb_publishable_…`, or the older `anon` key):"
        " the dashboard signs users in with it. Without it the daemon's page has no sign-in",
    )
    supabase_jwt_secret: Annotated[SecretStr, AfterValidator(checks.jwt_secret)] | None = Field(
        default=None,
        validation_alias="SUPABASE_JWT_SECRET",
        description="Only for a project whose users' tokens are signed with the legacy JWT secret;"
        " all others are checked with the public keys that the project publishes (JWKS)",
    )

    http_host: str = Field(
        default="127.0.0.1", min_length=1, description="Address the HTTP server binds to"
    )
    http_port: int = Field(
        default=8787, ge=0, le=65535, description="Port of the HTTP server; 0 takes any free one"
    )
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        validation_alias="PORT",
        json_schema_extra={"takes": "a whole number from 0 to 65,535"},
        description="Set by Railway and other hosts: the port where `MESHMETRICS_HTTP_PORT` is not"
        " set. The default of `MESHMETRICS_HTTP_HOST` is then `0.0.0.0`",
    )
    metrics_token: Annotated[SecretStr, AfterValidator(checks.bearer_token)] | None = Field(
        default=None,
        description="If set, `/metrics` wants it as bearer token; 8 characters or more",
    )
    cors_origins: Annotated[str, AfterValidator(checks.origins)] | None = Field(
        default=None,
        json_schema_extra={"takes": "origins such as `https://app.example.com`, commas between"},
        description="Whose pages may call the REST API from a browser; none by default",
    )
    runs_url: Annotated[str, AfterValidator(checks.runs_url)] | None = Field(
        default=None,
        json_schema_extra={"takes": "an http(s) URL, or a path, with `{workflow_id}` in it"},
        description="Where MeshHook lists a workflow's runs: the dashboard links there;"
        " `{slug}`, `{project_id}` and `{status}` are replaced likewise",
    )
    api_pool_size: int = Field(
        default=4, ge=1, le=100, description="Most database connections the REST API opens"
    )
    api_statement_timeout: float = _seconds(
        5, 0.1, 60, "How long one query of the REST API may take"
    )
    api_requests_per_second: float = Field(
        default=20, ge=0.1, le=10_000, description="Requests a second each caller may go on sending"
    )
    api_burst: int = Field(
        default=100, ge=1, le=100_000, description="Requests each caller may send at once"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least urgent lines that are logged"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: readable on a terminal, JSON elsewhere"
    )

    pool_size: int = Field(
        default=8, ge=4, le=100, description="Most database connections the daemon's work opens"
    )
    pooler: Literal["auto", "none", "session", "transaction"] = Field(
        default="auto",
        description="What stands before Postgres; `auto`: port 6543 is a transaction pooler",
    )
    migrate: bool = Field(
        default=True, description="Whether `run` brings the database up to date before it starts"
    )
    lease_ttl: float = _seconds(
        6, 1, 60, "How long a daemon that died without a word keeps the others waiting"
    )
    shutdown: float = _seconds(4.5, 1, 300, "How long finishing may take after SIGTERM")

    inbox_capacity: int = Field(
        default=50_000,
        ge=100,
        le=1_000_000,
        description="Most hints held in memory; sweeps find the rest",
    )
    count_batch: int = Field(
        default=10_000, ge=1, le=100_000, description="Most runs counted in one transaction"
    )
    probe_interval: float = _seconds(
        20, 0.1, 60, "How often the stream is asked whether it still answers"
    )
    probe_timeout: float = _seconds(10, 0.1, 60, "How long it may take to answer")
    connect_timeout: float = _seconds(
        15, 0.1, 60, "How long each step of connecting to Realtime may take"
    )
    backoff_cap: float = _seconds(30, 0.1, 600, "Longest pause between attempts to connect")

    stream_runs_per_second: float = Field(
        default=1000,
        ge=0,
        le=1_000_000,
        description="Runs a second above which the stream is left until they are fewer, as sweeps"
        " find every run sooner; 0: never",
    )

    sweep_min: float = _seconds(1, 0.05, 60, "Pause between sweeps while the stream misses runs")
    sweep_max: float = _seconds(30, 0.05, 3600, "Pause between sweeps while the stream is whole")
    sweep_quick: float = _seconds(
        0.1, 0, 60, "Pause between looks at the last second, while runs are flowing; 0: none"
    )
    sweep_overlap: float = _seconds(
        600,
        1,
        86_400,
        "How long a transaction may last where the database hides other sessions' transactions",
    )
    sweep_batch: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Rows a sweep looks at in one step"
    )
    missed_after: float = _seconds(
        3, 0.05, 60, "How late an event may be before its run counts as missed by the stream"
    )
    silent_after: float = _seconds(
        5, 0.05, 600, "A stream that missed runs and said nothing for so long is replaced"
    )
    deep_sweep_interval: float = _seconds(
        3600, 1, 86_400, "How often the last 25 hours, and all runs of the future, are swept whole"
    )
    backfill_batch: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Rows the back-fill looks at in one step"
    )
    abandoned_after: float = _seconds(
        600,
        0,
        604_800,
        "How long nothing may follow a failed step before an open run counts as abandoned, and so"
        " as a failure. 0 disables this",
    )
    maintain_interval: float = _seconds(
        60, 0.1, 86_400, "How often buckets are pruned and a slice of the ledger is looked through"
    )
    maintain_batch: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Ledger rows in one such slice"
    )

    audit_interval: float = _seconds(
        3600, 0.1, 604_800, "From the start of one background audit to the next, at least"
    )
    audit_batch: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Runs an audit compares in one step"
    )

    broadcasts_per_second: float = Field(
        default=50, ge=1, le=10_000, description="Most messages a second over all projects"
    )
    project_broadcasts_per_second: float = Field(
        default=4, ge=0.1, le=1000, description="Most messages a second to one project"
    )

    alert_interval: float = _seconds(
        30, 0.1, 3600, "How often all alert rules are looked at; changed workflows: at once"
    )
    alert_keys: Annotated[SecretStr, AfterValidator(checks.fernet_keys)] | None = Field(
        default=None,
        description="Seals channels' secrets; Fernet keys, commas between, the newest first."
        " Without it there are incidents, and no channels",
    )
    alert_group_wait: float = _seconds(
        30, 0, 3600, "Notices to a channel within this time of its last message travel together"
    )
    alert_messages_per_hour: int = Field(
        default=20, ge=1, le=10_000, description="Most messages an hour to a channel, then a digest"
    )
    alert_http: bool = Field(
        default=False, description="Whether webhooks may be http://: for the local stack"
    )
    alert_ports: Annotated[str, AfterValidator(checks.ports)] = Field(
        default="443,8443",
        json_schema_extra={"takes": "port numbers, commas between"},
        description="Ports that webhooks may name",
    )
    alert_networks: Annotated[str, AfterValidator(checks.networks)] | None = Field(
        default=None,
        json_schema_extra={"takes": "networks such as `127.0.0.0/8`, commas between"},
        description="Networks that webhooks may reach although they are not public",
    )
    dashboard_url: Annotated[str, AfterValidator(checks.http_url)] | None = Field(
        default=None,
        json_schema_extra={"takes": "an http(s) URL"},
        description="Where the dashboard is: links in notices lead there",
    )
    smtp_url: Annotated[SecretStr, AfterValidator(checks.smtp_url)] | None = Field(
        default=None,
        description="Sends e-mail: `smtps://user:password@host:465`, or `smtp://…:587` (STARTTLS)",
    )
    smtp_from: str = Field(
        default="meshmetrics@localhost", min_length=3, description="Sender of e-mail"
    )

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that the HTTP server binds to."""
        if self.port is None or "http_port" in self.model_fields_set:
            return self.http_host, self.http_port
        # A host that sets PORT sends its requests from another machine.
        return (self.http_host if "http_host" in self.model_fields_set else "0.0.0.0"), self.port  # noqa: S104

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The secret keys, the one to use first."""
        return tuple(k.strip() for k in self.supabase_secret_key.get_secret_value().split(","))

    @property
    def transaction_pooler(self) -> bool:
        """Whether the database is reached through a transaction pooler."""
        if self.pooler == "auto":
            return urlsplit(self.database_url.get_secret_value()).port == 6543
        return self.pooler == "transaction"

    def secrets(self) -> list[str]:
        """The values that must not appear in any log line."""
        values = [getattr(self, name) for name in type(self).model_fields]
        found = [v.get_secret_value() for v in values if isinstance(v, SecretStr)]
        password = urlsplit(self.database_url.get_secret_value()).password
        return [*found, *self.secret_keys, *([password] if password else [])]
