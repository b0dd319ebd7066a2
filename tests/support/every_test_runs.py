"""A pytest plugin: a run fails when a test was collected and did not run.

xdist keeps work by node id, so tests that share one are dropped without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from _pytest.nodeid import coerce_node_id


class EveryTestRuns:
    """Compares, where the results come together, what was collected with what ran."""

    def __init__(self) -> None:
        self._collected: set[str] = set()
        self._ran: set[str] = set()
        self.missing: set[str] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Give each test an id of its own; refuse two that share one."""
        for item in items:
            # schemathesis names each operation's test and leaves it the id of them all.
            if item.parent is not None and not item.nodeid.endswith(item.name):
                item._id = coerce_node_id(f"{item.parent.nodeid}::{item.name}")
        shared = [name for name, n in Counter(item.nodeid for item in items).items() if n > 1]
        if shared:
            raise pytest.UsageError(f"tests share an id, so xdist would drop some: {shared}")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without xdist: what is to run."""
        self._collected |= {item.nodeid for item in session.items}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: Sequence[str]) -> None:
        """With xdist, in its controller: what a worker is to run."""
        self._collected |= set(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":  # the last report of every test, a skipped one's too
            self._ran.add(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run, unless it was stopped early."""
        config = session.config
        stopped = session.shouldstop or session.shouldfail or config.option.collectonly
        if stopped or hasattr(config, "workerinput") or session.exitstatus not in (0, 1):
            return
        self.missing = self._collected - self._ran
        if self.missing:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.missing:
            terminalreporter.section(f"{len(self.missing)} tests were collected and did not run")
            for name in sorted(self.missing):
                terminalreporter.write_line(name)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(EveryTestRuns())
