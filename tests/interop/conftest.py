"""Scenarios for the interoperability tests, and the logs of their programs when a test fails."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest

from .harness.site import Site

_standing: list[Site] = []
MakeSite = Callable[[], Site]


@pytest.fixture(scope="module")
def module_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One network for all tests of a file."""
    yield from _site(tmp_path_factory)


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One network for one test."""
    yield from _site(tmp_path_factory)


def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        made = stack.enter_context(Site(tmp_path_factory.mktemp("site")))
        _standing.append(made)
        stack.callback(_standing.remove, made)
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the programs said when a test or its preparation failed."""
    report = yield
    if report.failed:
        report.sections.extend((f"programs of {site.directory.name}", site.logs()) for site in _standing)
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs root and other people's programs, which take their time on a loaded machine."""
    for item in items:
        if "tests/interop/" in item.path.as_posix():
            item.add_marker(pytest.mark.interop)
            item.add_marker(pytest.mark.limit(300))
