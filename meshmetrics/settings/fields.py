"""Every setting, with its unit and bounds. Read once (load.py); a part gets only what it needs."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from meshmetrics.settings import checks, connection_string
from meshmetrics.settings.connection_string import ConnectionString

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
    """How to reach the database. The environment wins over `.env`."""

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
        description="Connection string: `postgresql://user:password@host:port/database`",
    )

    @property
    def connection(self) -> ConnectionString:
        """The connection string, read."""
        return connection_string.read(self.database_url.get_secret_value())

    @property
    def dsn(self) -> str:
        """The connection string as the database's driver reads it."""
        return self.connection.dsn


class Settings(DatabaseSettings):
    """Everything that the daemon needs."""

    supabase_url: Annotated[str, AfterValidator(checks.http_url)] = Field(
        validation_alias="SUPABASE_URL",
        json_schema_extra={"takes": "an http(s) URL"},
        description="URL of the Supabase project, such as `https://abcdefgh.supabase.co`",
    )
    supabase_secret_key: Annotated[SecretStr, AfterValidator(checks.secret_keys)] = Field(
        validation_alias=AliasChoices("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"),
        description="The project's secret key (`sb_secret_…`, or the older `service_role` key)."
        " During rotation, several separated by commas: after a 401 the next one is used",
    )
    supabase_publishable_key: Annotated[str, AfterValidator(checks.public_key)] | None = Field(
        default=None,
        json_schema_extra={"takes": "a public key"},
        validation_alias=AliasChoices("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY"),
        description="The project's publishable key (`sb_publishable_…`, or the older `anon` key):"
        " the dashboard signs users in with it. Without it, the dashboard has no sign-in",
    )
    supabase_jwt_secret: Annotated[SecretStr, AfterValidator(checks.jwt_secret)] | None = Field(
        default=None,
        validation_alias="SUPABASE_JWT_SECRET",
        description="Only for a project that still signs its users'"
        " tokens with the legacy JWT secret."
        " All other tokens are verified with the public keys of the project (JWKS)",
    )

    http_host: str = Field(
        default="127.0.0.1", min_length=1, description="Address the HTTP server binds to"
    )
    http_port: int = Field(
        default=8787, ge=0, le=65535, description="Port of the HTTP server. 0 chooses a free one"
    )
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        validation_alias="PORT",
        json_schema_extra={"takes": "a whole number from 0 to 65,535"},
        description="Set by Railway and other hosts; used unless `MESHMETRICS_HTTP_PORT` is set."
        " `MESHMETRICS_HTTP_HOST` then defaults to `0.0.0.0`",
    )
    metrics_token: Annotated[SecretStr, AfterValidator(checks.bearer_token)] | None = Field(
        default=None,
        description="If set, `/metrics` requires this bearer token; at least 8 characters",
    )
    cors_origins: Annotated[str, AfterValidator(checks.origins)] | None = Field(
        default=None,
        json_schema_extra={
            "takes": "origins such as `https://app.example.com`, separated by commas"
        },
        description="Origins whose pages may call the REST API from a browser; none by default",
    )
    runs_url: Annotated[str, AfterValidator(checks.runs_url)] | None = Field(
        default=None,
        json_schema_extra={"takes": "an http(s) URL, or a path, with `{workflow_id}` in it"},
        description="Where MeshHook lists a workflow's runs; the dashboard links there."
        " `{slug}`, `{project_id}` and `{status}` are replaced as well",
    )
    api_pool_size: int = Field(
        default=4, ge=1, le=100, description="Maximum database connections of the REST API"
    )
    api_statement_timeout: float = _seconds(5, 0.1, 60, "Timeout of one query of the REST API")
    api_requests_per_second: float = Field(
        default=20, ge=0.1, le=10_000, description="Sustained requests per second for each caller"
    )
    api_burst: int = Field(
        default=100, ge=1, le=100_000, description="Requests that each caller may send in a burst"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Minimum log level"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto` is readable on a terminal and JSON elsewhere"
    )

    pool_size: int = Field(
        default=8, ge=4, le=100, description="Maximum database connections of counting and alerting"
    )
    pooler: Literal["auto", "none", "session", "transaction"] = Field(
        default="auto",
        description="The connection pooler in front of Postgres. `auto` takes port 6543, or"
        " `pgbouncer=true` in `DATABASE_URL`, for a transaction pooler",
    )
    migrate: bool = Field(
        default=True, description="Whether `run` migrates the database when it starts"
    )
    lease_ttl: float = _seconds(
        6, 1, 60, "How long standbys wait before replacing a crashed daemon"
    )
    shutdown: float = _seconds(4.5, 1, 300, "How long shutting down may take after SIGTERM")

    inbox_capacity: int = Field(
        default=50_000,
        ge=100,
        le=1_000_000,
        description="Maximum hints in memory. Sweeps find the runs of those above it",
    )
    count_batch: int = Field(
        default=10_000, ge=1, le=100_000, description="Maximum runs counted in one transaction"
    )
    probe_interval: float = _seconds(20, 0.1, 60, "How often the Realtime connection is probed")
    probe_timeout: float = _seconds(
        10, 0.1, 60, "How long a probe may take before the connection is replaced"
    )
    connect_timeout: float = _seconds(15, 0.1, 60, "Timeout of each step of connecting to Realtime")
    backoff_cap: float = _seconds(
        30, 0.1, 600, "Maximum back-off between attempts to connect to Realtime"
    )

    stream_runs_per_second: float = Field(
        default=1000,
        ge=0,
        le=1_000_000,
        description="Above this many finished runs per second, unsubscribe from Realtime and rely"
        " on sweeps, which are faster at that rate. 0 disables this",
    )

    sweep_min: float = _seconds(
        1, 0.05, 60, "Pause between sweeps while the stream misses runs (minimum)"
    )
    sweep_max: float = _seconds(
        30, 0.05, 3600, "Pause between sweeps while the stream misses none (maximum)"
    )
    sweep_quick: float = _seconds(
        0.1,
        0,
        60,
        "Pause between quick sweeps of the last second, while runs finish. 0 disables them",
    )
    sweep_overlap: float = _seconds(
        600,
        1,
        86_400,
        "Maximum duration of the engine's transactions, if the daemon may not see them",
    )
    sweep_batch: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Rows that a sweep reads in one step"
    )
    missed_after: float = _seconds(
        3, 0.05, 60, "How late an event may be before its run counts as missed by the stream"
    )
    silent_after: float = _seconds(
        5, 0.05, 600, "Reconnect to Realtime if it missed runs and sent no event for this long"
    )
    deep_sweep_interval: float = _seconds(
        3600, 1, 86_400, "How often to sweep the last 25 hours, and all runs dated in the future"
    )
    backfill_batch: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Rows that the back-fill reads in one step"
    )
    abandoned_after: float = _seconds(
        600,
        0,
        604_800,
        "How long after a failed step, with no further event, an open run counts as abandoned, and"
        " so as a failure. 0 disables this",
    )
    maintain_interval: float = _seconds(
        60,
        0.1,
        86_400,
        "How often to prune buckets and to check a slice of the ledger for deleted runs",
    )
    maintain_batch: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Ledger rows in one such slice"
    )

    audit_interval: float = _seconds(
        3600, 0.1, 604_800, "Minimum time between the starts of two background audits"
    )
    audit_batch: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Runs that an audit compares in one step"
    )

    broadcasts_per_second: float = Field(
        default=50, ge=1, le=10_000, description="Maximum broadcasts per second over all projects"
    )
    project_broadcasts_per_second: float = Field(
        default=4, ge=0.1, le=1000, description="Maximum broadcasts per second for one project"
    )

    alert_interval: float = _seconds(
        30,
        0.1,
        3600,
        "How often to evaluate all alert rules. Those of changed workflows are evaluated at once",
    )
    alert_keys: Annotated[SecretStr, AfterValidator(checks.fernet_keys)] | None = Field(
        default=None,
        description="Fernet keys that encrypt channels' secrets, separated by commas, newest first."
        " Without one there are incidents but no channels",
    )
    alert_group_wait: float = _seconds(
        30, 0, 3600, "Notices to a channel within this time of its last message are sent together"
    )
    alert_messages_per_hour: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Maximum messages per hour for one channel; the rest goes into a digest",
    )
    alert_http: bool = Field(
        default=False, description="Allow http:// webhooks; for local development"
    )
    alert_ports: Annotated[str, AfterValidator(checks.ports)] = Field(
        default="443,8443",
        json_schema_extra={"takes": "port numbers, separated by commas"},
        description="Ports allowed in webhook URLs",
    )
    alert_networks: Annotated[str, AfterValidator(checks.networks)] | None = Field(
        default=None,
        json_schema_extra={"takes": "networks such as `127.0.0.0/8`, separated by commas"},
        description="Private networks that webhooks may reach",
    )
    dashboard_url: Annotated[str, AfterValidator(checks.http_url)] | None = Field(
        default=None,
        json_schema_extra={"takes": "an http(s) URL"},
        description="URL of the dashboard, for links in notices",
    )
    smtp_url: Annotated[SecretStr, AfterValidator(checks.smtp_url)] | None = Field(
        default=None,
        description="Mail server: `smtps://user:password@host:465`, or `smtp://…:587` (STARTTLS)",
    )
    smtp_from: str = Field(
        default="meshmetrics@localhost", min_length=3, description="Sender address of e-mail"
    )
    public_url: Annotated[str, AfterValidator(checks.http_url)] | None = Field(
        default=None,
        json_schema_extra={"takes": "an http(s) URL"},
        description="URL of this server for recipients of e-mail, who confirm and unsubscribe"
        " there. `MESHMETRICS_DASHBOARD_URL` by default; without either no e-mail is sent",
    )
    mails_per_hour: int = Field(
        default=500, ge=1, le=1_000_000, description="Maximum e-mails per hour"
    )
    mails_per_hour_project: int = Field(
        default=60, ge=1, le=1_000_000, description="Maximum e-mails per hour of one project"
    )
    mails_per_hour_recipient: int = Field(
        default=20,
        ge=1,
        le=1_000_000,
        description="Maximum e-mails per hour to one address, over all projects",
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
        """The secret keys, in order of use."""
        return tuple(k.strip() for k in self.supabase_secret_key.get_secret_value().split(","))

    @property
    def transaction_pooler(self) -> bool:
        """Whether the connection goes through a transaction pooler."""
        if self.pooler == "auto":
            return self.connection.transaction_pooler
        return self.pooler == "transaction"

    def secrets(self) -> list[str]:
        """The values that must not appear in any log line."""
        values = [getattr(self, name) for name in type(self).model_fields]
        found = [v.get_secret_value() for v in values if isinstance(v, SecretStr)]
        password = self.connection.password
        if password:
            found += [password, quote(password, safe="")]
        return [*found, *self.secret_keys]
