"""The command line. Each subcommand is a class, and imports what it needs when it runs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import structlog
from pydantic import BaseModel, Field
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliPositionalArg,
    CliSubCommand,
    CliToggleFlag,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    get_subcommand,
)

from meshmetrics.runtime import logs
from meshmetrics.runtime.service import FatalError
from meshmetrics.settings.fields import DatabaseSettings, Settings
from meshmetrics.settings.load import S, SettingsError, load_settings, unknown_settings

log = structlog.get_logger()

EXIT_FAILED = 1
EXIT_WRONG_SETTINGS = 2
LAST_RESORT_SECONDS = 0.4
"""How long after the timeout for draining the process is killed."""


class Run(BaseModel):
    """Run the daemon: count runs as they finish, broadcast rates, serve the API and dashboard."""

    api_only: CliToggleFlag[bool] = Field(
        default=False,
        description="only serve the API and the dashboard; other daemons count",
    )

    def cli_cmd(self) -> None:
        settings = _settings(Settings)
        logs.configure(
            level=settings.log_level, style=settings.log_format, secrets=settings.secrets()
        )
        for line in unknown_settings():
            log.warning("settings.unknown", text=line)
        for line in settings.connection.notes:
            log.warning("settings.ignored", text=line)
        import uvloop

        try:
            uvloop.run(_run(settings, api_only=self.api_only))
        except FatalError as error:
            log.error("daemon.failed", error=str(error))  # noqa: TRY400 (for the operator: no trace)
            raise SystemExit(EXIT_FAILED) from None


class Migrate(BaseModel):
    """Migrate the database, or print the SQL for it."""

    print_: CliToggleFlag[bool] = Field(
        default=False, alias="print", description="print the SQL instead of running it"
    )
    supabase: Path | None = Field(
        default=None,
        description="write migration files for `supabase db push` into this `supabase` folder",
    )

    def cli_cmd(self) -> None:
        from meshmetrics.database.migrate import migrate
        from meshmetrics.database.packaged_sql import MigrationError, packaged_schema

        if self.print_:
            sys.stdout.write(packaged_schema().script())
            return
        if self.supabase is not None:
            from meshmetrics.database.supabase_files import write_files

            try:
                written = write_files(self.supabase)
            except MigrationError as error:
                _exit(str(error), EXIT_FAILED)
            for path in written:
                sys.stdout.write(f"wrote {path}\n")
            sys.stdout.write("" if written else "nothing to do\n")
            return
        settings = _settings(DatabaseSettings)
        done = _change_schema(settings, lambda: migrate(settings.dsn))
        for line in done or ["nothing to do"]:
            sys.stdout.write(line + "\n")


class Uninstall(BaseModel):
    """Remove everything of meshmetrics from the database. MeshHook's tables do not change."""

    print_: CliToggleFlag[bool] = Field(
        default=False, alias="print", description="print the SQL instead of running it"
    )
    yes: CliToggleFlag[bool] = Field(default=False, description="do not ask for confirmation")

    def cli_cmd(self) -> None:
        from meshmetrics.commands import uninstall

        if self.print_:
            sys.stdout.write(uninstall.script())
            return
        settings = _settings(DatabaseSettings)
        if not self.yes and not _confirm("Remove all counts, alert rules, channels and incidents?"):
            _exit("nothing was removed", EXIT_FAILED)
        done = _change_schema(settings, lambda: uninstall.uninstall(settings.dsn))
        for line in done or ["nothing to remove"]:
            sys.stdout.write(line + "\n")


class MapStatus(BaseModel):
    """Map a status to an outcome (success, failure, canceled, open), and recount its runs."""

    status: CliPositionalArg[str] = Field(description="a status of MeshHook's runs")
    outcome: CliPositionalArg[str] = Field(description="success, failure, canceled or open")

    def cli_cmd(self) -> None:
        from meshmetrics.commands import terminal

        _run_once(terminal.show_map_status(_quiet_settings(), self.status, self.outcome))


class Statuses(BaseModel):
    """List all statuses with outcome and number of runs; `statuses map` maps one."""

    map: CliSubCommand[MapStatus] = Field(description=MapStatus.__doc__)

    def cli_cmd(self) -> None:
        if get_subcommand(self, is_required=False) is not None:
            CliApp.run_subcommand(self)
            return
        from meshmetrics.commands import terminal

        _run_once(terminal.show_statuses(_quiet_settings()))


class Verify(BaseModel):
    """Verify the counts: compare runs, ledger, buckets and counters. Exit status 1 on drift."""

    repair: CliToggleFlag[bool] = Field(default=False, description="repair what is wrong")
    yes: CliToggleFlag[bool] = Field(
        default=False,
        description="repair without confirmation, even if it removes more runs than it adds",
    )
    json_: CliToggleFlag[bool] = Field(default=False, alias="json", description="print JSON")
    patience: float = Field(
        default=10.0,
        ge=0,
        description="seconds to wait for uncounted runs to be counted before reporting them",
    )
    receipt: Path | None = Field(
        default=None,
        description="write counts and hashes of a period to this file, to compare with SQL of your"
        " own (docs/verify-yourself.md)",
    )
    from_: datetime | None = Field(
        default=None, alias="from", description="begin of the receipt's period; 30 days before --to"
    )
    to: datetime | None = Field(
        default=None, description="end of the receipt's period, exclusive; a minute ago"
    )

    def cli_cmd(self) -> None:
        from meshmetrics.commands import terminal

        settings = _quiet_settings()
        work = terminal.show_verify(
            settings,
            repairing=self.repair,
            as_json=self.json_,
            patience=self.patience,
            confirm=(lambda _: True) if self.yes else _confirm,
            receipt=(self.receipt, self.from_, self.to) if self.receipt else None,
        )
        _run_once(work)


class Backfill(BaseModel):
    """Count the runs from before meshmetrics. A daemon may run at the same time."""

    def cli_cmd(self) -> None:
        from meshmetrics.commands import terminal

        _run_once(terminal.show_backfill(_quiet_settings()))


class Doctor(BaseModel):
    """Check settings, database and Realtime, and say how to fix what is wrong."""

    json_: CliToggleFlag[bool] = Field(default=False, alias="json", description="print JSON")

    def cli_cmd(self) -> None:
        from meshmetrics.commands import terminal

        logs.configure(level="error")
        _run_once(terminal.show_doctor(as_json=self.json_))


class Demo(BaseModel):
    """Run everything on this machine, with simulated workflows, and show the counts live."""

    seconds: float | None = Field(
        default=None, gt=0, description="stop after this many seconds of runs; default: at Ctrl-C"
    )
    rate: float = Field(default=5.0, gt=0, le=1000, description="runs started per second")
    seed: int = Field(default=1, description="the same seed creates the same projects and history")
    headless: CliToggleFlag[bool] = Field(
        default=False, description="print lines instead of a screen"
    )
    days: int = Field(default=30, ge=1, le=365, description="days of runs before the demo starts")
    json_: CliToggleFlag[bool] = Field(
        default=False, alias="json", description="headless, and print one line of JSON at the end"
    )

    def cli_cmd(self) -> None:
        try:
            from meshmetrics.devstack.demo import main as demo
        except ModuleNotFoundError as error:
            _exit(
                f"the demo needs the extra `local` ({error.name} is not installed):"
                " pip install 'meshmetrics[local]'",
                EXIT_FAILED,
            )
        options = demo.Options(
            seconds=self.seconds,
            rate=self.rate,
            seed=self.seed,
            days=self.days,
            headless=self.headless,
            json=self.json_,
        )
        try:
            status = demo.main(options)
        except demo.DemoFailedError as error:
            _exit(str(error), EXIT_FAILED)
        raise SystemExit(status)


class Cli(BaseSettings):
    """Live, exact success and failure rates for MeshHook's workflows."""

    model_config = SettingsConfigDict(
        cli_prog_name="meshmetrics", cli_kebab_case=True, cli_hide_none_type=True
    )

    run: CliSubCommand[Run] = Field(description=Run.__doc__)
    migrate: CliSubCommand[Migrate] = Field(description=Migrate.__doc__)
    uninstall: CliSubCommand[Uninstall] = Field(description=Uninstall.__doc__)
    statuses: CliSubCommand[Statuses] = Field(description=Statuses.__doc__)
    backfill: CliSubCommand[Backfill] = Field(description=Backfill.__doc__)
    verify: CliSubCommand[Verify] = Field(description=Verify.__doc__)
    doctor: CliSubCommand[Doctor] = Field(description=Doctor.__doc__)
    demo: CliSubCommand[Demo] = Field(description=Demo.__doc__)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the command line: an environment variable called RUN is not an option of ours."""
        return (init_settings,)

    def cli_cmd(self) -> None:
        CliApp.run_subcommand(self)


def main(arguments: list[str] | None = None) -> None:
    """The entry point. Ends with 0, 1 (failed) or 2 (wrong settings or arguments)."""
    CliApp.run(Cli, cli_args=sys.argv[1:] if arguments is None else arguments)


async def _run(settings: Settings, *, api_only: bool) -> None:
    from meshmetrics.daemon.daemon import Daemon

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def request_stop(name: str) -> None:
        if stop.is_set():  # a second signal stops at once
            os._exit(EXIT_FAILED)
        log.info("daemon.stopping", signal=name)
        stop.set()
        # The process ends in time even if the event loop is blocked.
        limit = settings.shutdown + LAST_RESORT_SECONDS
        timer = threading.Timer(limit, os._exit, [EXIT_FAILED])
        timer.daemon = True
        timer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, request_stop, number.name)
    log.info("daemon.started", pid=os.getpid(), api_only=api_only)
    await Daemon(settings, api_only=api_only).run(stop)
    log.info("daemon.stopped")


def _run_once(work: Coroutine[Any, Any, int]) -> NoReturn:
    """Run a command, and exit with the status it returns."""
    from meshmetrics.commands.connecting import CommandError

    try:
        status = asyncio.run(work)
    except CommandError as error:
        _exit(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        _exit("stopped", EXIT_FAILED)
    raise SystemExit(status)


def _change_schema(
    settings: DatabaseSettings, work: Callable[[], Coroutine[Any, Any, list[str]]]
) -> list[str]:
    """Migrate or uninstall; exit with a message where that fails."""
    from meshmetrics.commands.connecting import explain
    from meshmetrics.database.packaged_sql import MigrationError

    async def run() -> list[str]:
        try:
            return await work()
        except MigrationError as error:
            _exit(str(error), EXIT_FAILED)
        except Exception as error:
            explained = await explain(error, settings)
            _exit(str(explained or f"the database failed: {logs.describe(error)}"), EXIT_FAILED)

    return asyncio.run(run())


def _quiet_settings() -> Settings:
    """All settings; also log only warnings and errors, as the command has its own output."""
    settings = _settings(Settings)
    logs.configure(level="warning", style=settings.log_format, secrets=settings.secrets())
    return settings


def _settings(kind: type[S]) -> S:
    try:
        return load_settings(kind)
    except SettingsError as error:
        _exit(f"the settings are invalid:\n{error}", EXIT_WRONG_SETTINGS)


def _confirm(question: str) -> bool:
    """Ask on the terminal; exit if there is none."""
    if not sys.stdin.isatty():
        _exit("cannot ask for confirmation without a terminal: add --yes", EXIT_FAILED)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _exit(message: str, status: int) -> NoReturn:
    sys.stderr.write(f"meshmetrics: {message}\n")
    raise SystemExit(status)
