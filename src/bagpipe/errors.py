"""The two families of errors: what a remote peer did wrong, and what a local caller did wrong.

Each family is raised at one boundary. A :class:`RemoteFault` starts in ``wire`` (bytes that a neighbour sent) and is
answered by the session as its outcome says (RFC 7606). A :class:`LocalMisuse` starts wherever a local value is checked
(configuration, REST, command line) and is told to the person or program that gave the value.
"""

from __future__ import annotations

import enum


class Outcome(enum.Enum):
    """What RFC 7606 section 2 asks a receiver to do about a malformed UPDATE, the strongest last."""

    DISCARD_ATTRIBUTE = 1
    TREAT_AS_WITHDRAW = 2
    DISABLE_FAMILY = 3
    RESET_SESSION = 4


class RemoteFault(Exception):
    """Something a BGP neighbour sent is not as the protocol has it.

    ``outcome`` is what to do about it. ``code``, ``subcode`` and ``data`` are what a NOTIFICATION says about it if the
    outcome is to reset the session (RFC 4271 section 4.5).
    """

    def __init__(
        self,
        text: str,
        *,
        outcome: Outcome = Outcome.RESET_SESSION,
        code: int,
        subcode: int = 0,
        data: bytes = b"",
    ) -> None:
        super().__init__(text)
        self.text = text
        self.outcome = outcome
        self.code = code
        self.subcode = subcode
        self.data = data


class LocalMisuse(Exception):
    """A value that a local user or program gave cannot be used. Names the field and shows the value."""

    def __init__(self, field: str, value: object, reason: str) -> None:
        super().__init__(f"{field}: {value!r}: {reason}")
        self.field = field
        self.value = value
        self.reason = reason
