"""The stack is started once for all tests of a module."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.neutron.stack.stack import Stack


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A real Neutron, its agents and daemons, all of it with our driver, extension and daemon."""
    made = Stack(f"bagpipe-stack-{os.getpid()}")
    try:
        done = made.up()
        assert done.status == 0, f"{done.text}\n{made.logs()}"
        yield made
    finally:
        made.down()
