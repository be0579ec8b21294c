"""The header that multipart requests and replies share.

OpenFlow Switch Specification 1.5.1 section 7.3.5. Requests always fit one message here; replies may come in several.
"""

from __future__ import annotations

import enum
from struct import Struct

MULTIPART = Struct("!HH4x")
_MORE = 1


class Part(enum.IntEnum):
    """The multipart types that are spoken here (OFPMP_*)."""

    FLOW_DESCRIPTION = 1
    GROUP_STATISTICS = 6
    GROUP_DESCRIPTION = 7
    FLOW_MONITOR = 16


def multipart(part: Part, more: bool = False) -> bytes:
    """The header; ``more`` says that another message of the same transaction follows."""
    return MULTIPART.pack(part, _MORE if more else 0)


def has_more(flags: int) -> bool:
    """Whether the flags of a multipart header say that another message follows."""
    return bool(flags & _MORE)
