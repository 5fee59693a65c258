"""Tests that lack a program: told at the end of a run, and its failure where none may lack one."""

import os

import pytest

REMEDY = "make setup-system"
"""Is part of the reason of such a skip."""

NONE_MAY = "SCHEDSEARCH_SKIP_NOTHING"
"""Variable of the environment that says so; `.ci/run` sets it."""


def lacking(config: pytest.Config) -> dict[str, int]:
    """How many tests were skipped for each program that is not there, by the reason they gave."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.getreports("skipped") if reporter else ()
    reasons = [one.longrepr[2] for one in reports if isinstance(one.longrepr, tuple)]
    ours = [one.removeprefix("Skipped: ") for one in reasons if REMEDY in one]
    return {reason: ours.count(reason) for reason in sorted(set(ours))}


def tell(config: pytest.Config, reporter: pytest.TerminalReporter) -> None:
    """List them with what brings the programs."""
    found = lacking(config)
    if found:
        reporter.section("not tested", yellow=True)
        for reason, count in found.items():
            reporter.write_line(f"{count} tests: {reason}")


def fails(config: pytest.Config) -> bool:
    """Say whether a run has failed by what it skipped."""
    return bool(os.environ.get(NONE_MAY) and lacking(config))
