"""The plugin that fails a run in which a test was collected and did not run."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "tests.support.every_test_runs", "-p", "no:cacheprovider")


def test_tests_that_share_an_id_are_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(): pass")
    pytester.makeconftest("def pytest_collection_modifyitems(items): items.append(items[0])")
    result = pytester.runpytest_subprocess(*PLUGIN)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*tests share an id*test_one*"])


def test_a_test_that_does_not_run_fails_the_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(): pass\ndef test_two(): pass")
    pytester.makeconftest(
        "def pytest_runtest_protocol(item): return True if item.name == 'test_two' else None"
    )
    result = pytester.runpytest_subprocess(*PLUGIN)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*1 tests were collected and did not run*", "*test_two*"])


def test_a_whole_run_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(): pass\ndef test_two(): pass")
    result = pytester.runpytest_subprocess(*PLUGIN)
    assert result.ret == pytest.ExitCode.OK
