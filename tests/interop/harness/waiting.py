"""Waiting for a state, with the last state seen in the message when it does not come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .network import CommandFailed

T = TypeVar("T")
TRANSIENT = (CommandFailed, OSError, LookupError, ValueError)
PATIENCE = 60.0
"""Seconds for what takes a real program a moment: a machine with few cores has other work beside the tests."""


def wait_until(
    look: Callable[[], T], wanted: Callable[[T], bool], what: str, timeout: float = PATIENCE, pause: float = 0.1
) -> T:
    """Call `look` until `wanted` holds of its value, and give that value; `AssertionError` tells the last one seen.

    A probe that fails while its program starts (no socket yet, no such table) counts as a state not yet wanted.
    """
    deadline = time.monotonic() + timeout
    while True:
        seen: object
        try:
            value = look()
            if wanted(value):
                return value
            seen = value
        except TRANSIENT as error:
            seen = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{timeout:.0f} s passed without: {what}\nlast seen: {seen!r}")
        time.sleep(pause)


def stays(look: Callable[[], T], wanted: Callable[[T], bool], what: str, seconds: float = 1.0) -> None:
    """Assert that `wanted` holds of `look()` all through `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = look()
        assert wanted(value), f"did not stay: {what}\nseen: {value!r}"
        time.sleep(0.1)
