"""Bundles: many messages that a switch does together or not at all.

OpenFlow Switch Specification 1.5.1 section 7.3.9. A bundle here holds flow-mods and group-mods; properties and
scheduled commits are not done.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from bagpipe.dataplane.openflow.flows import FlowMod, PackedFlow
from bagpipe.dataplane.openflow.groups import GroupMod
from bagpipe.dataplane.openflow.messages import Message
from bagpipe.dataplane.openflow.octets import Octets

CONTROL = Struct("!IHH")
ADD = Struct("!I2xH")


class BundleStep(enum.IntEnum):
    """What a bundle control message asks or answers (OFPBCT_*)."""

    OPEN_REQUEST = 0
    OPEN_REPLY = 1
    CLOSE_REQUEST = 2
    CLOSE_REPLY = 3
    COMMIT_REQUEST = 4
    COMMIT_REPLY = 5
    DISCARD_REQUEST = 6
    DISCARD_REPLY = 7


class BundleFlags(enum.IntFlag):
    """How a bundle is done (OFPBF_*): all or nothing, in the order of the messages."""

    NONE = 0
    ATOMIC = 1
    ORDERED = 2


@dataclass(frozen=True, slots=True)
class BundleControl(Message):
    """Open, commit or discard a bundle, or the answer."""

    kind: ClassVar[int] = 33
    bundle: int
    step: BundleStep
    flags: BundleFlags = BundleFlags.NONE

    @property
    def body(self) -> bytes:
        """The ofp_bundle_ctrl_msg structure after its header."""
        return CONTROL.pack(self.bundle, self.step, self.flags)


@dataclass(frozen=True, slots=True)
class BundleAdd(Message):
    """Put a message into an open bundle. It carries the transaction identifier of its envelope."""

    kind: ClassVar[int] = 34
    bundle: int
    flags: BundleFlags
    message: FlowMod | PackedFlow | GroupMod

    @property
    def body(self) -> bytes:
        """The part of the envelope before the message; what encodes messages adds the message itself."""
        return ADD.pack(self.bundle, self.flags)


def read_control(data: Octets) -> BundleControl:
    """The body of a bundle control message; properties are passed over. Raises MalformedMessage or ValueError."""
    bundle, step, flags = data.unpack(CONTROL)
    data.rest()
    return BundleControl(bundle, BundleStep(step), BundleFlags(flags))
