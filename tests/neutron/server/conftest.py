"""The long runs begin with the first test, beside those that need no run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.neutron.server import runs

MANY = 20
"""From so many tests of this directory on it pays to begin all runs at once."""


@pytest.fixture(scope="session", autouse=True)
def begun_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    here = Path(__file__).parent
    if sum(item.path.parent == here for item in request.session.items) >= MANY:
        runs.begin_all()
    yield
    runs.end()
