"""What can go wrong between the desired state and a dataplane.

A value that a local caller gave and that cannot be sent is :class:`bagpipe.errors.LocalMisuse`. What the dataplane
itself does, refuses or fails to answer is a :class:`DataplaneError`.
"""

from __future__ import annotations


class DataplaneError(Exception):
    """The dataplane did not do what it was asked. The text says what and why."""


class Unreachable(DataplaneError):
    """There is no connection, or it was lost before the answer: what was sent may or may not have been applied.

    The caller reads back what the dataplane holds once it is connected again.
    """


class NoAnswer(Unreachable):
    """The dataplane holds the connection but did not answer in time."""


class MalformedMessage(DataplaneError):
    """Octets that a dataplane sent are not what its protocol has."""
