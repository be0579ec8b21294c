"""Errors that a switch sends, with all their fields and the names that the specification gives them.

OpenFlow Switch Specification 1.5.1 section 7.5.4, and the errors of the Nicira experimenter that OVS sends in OpenFlow
1.5 (ovs-ofctl shows the same names). A number without a name stays a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from bagpipe.dataplane.errors import DataplaneError
from bagpipe.dataplane.openflow.messages import Message
from bagpipe.dataplane.openflow.octets import Octets

EXPERIMENTER = 0xFFFF
NICIRA = 0x00002320
_HEAD = Struct("!HH")
_EXPERIMENTER_HEAD = Struct("!HHI")

# Type: the prefix of its codes' names, and the codes from 0 on.
_CODES: dict[int, tuple[str, str]] = {
    0: ("OFPHFC", "INCOMPATIBLE EPERM"),
    1: (
        "OFPBRC",
        "BAD_VERSION BAD_TYPE BAD_MULTIPART BAD_EXPERIMENTER BAD_EXP_TYPE EPERM BAD_LEN BUFFER_EMPTY BUFFER_UNKNOWN"
        " BAD_TABLE_ID IS_SLAVE BAD_PORT BAD_PACKET MULTIPART_BUFFER_OVERFLOW MULTIPART_REQUEST_TIMEOUT"
        " MULTIPART_REPLY_TIMEOUT MULTIPART_BAD_SCHED PIPELINE_FIELDS_ONLY UNKNOWN",
    ),
    2: (
        "OFPBAC",
        "BAD_TYPE BAD_LEN BAD_EXPERIMENTER BAD_EXP_TYPE BAD_OUT_PORT BAD_ARGUMENT EPERM TOO_MANY BAD_QUEUE"
        " BAD_OUT_GROUP MATCH_INCONSISTENT UNSUPPORTED_ORDER BAD_TAG BAD_SET_TYPE BAD_SET_LEN BAD_SET_ARGUMENT"
        " BAD_SET_MASK BAD_METER",
    ),
    3: (
        "OFPBIC",
        "UNKNOWN_INST UNSUP_INST BAD_TABLE_ID UNSUP_METADATA UNSUP_METADATA_MASK BAD_EXPERIMENTER BAD_EXP_TYPE BAD_LEN"
        " EPERM DUP_INST",
    ),
    4: (
        "OFPBMC",
        "BAD_TYPE BAD_LEN BAD_TAG BAD_DL_ADDR_MASK BAD_NW_ADDR_MASK BAD_WILDCARDS BAD_FIELD BAD_VALUE BAD_MASK"
        " BAD_PREREQ DUP_FIELD EPERM",
    ),
    5: (
        "OFPFMFC",
        "UNKNOWN TABLE_FULL BAD_TABLE_ID OVERLAP EPERM BAD_TIMEOUT BAD_COMMAND BAD_FLAGS CANT_SYNC BAD_PRIORITY"
        " IS_SYNC",
    ),
    6: (
        "OFPGMFC",
        "GROUP_EXISTS INVALID_GROUP WEIGHT_UNSUPPORTED OUT_OF_GROUPS OUT_OF_BUCKETS CHAINING_UNSUPPORTED"
        " WATCH_UNSUPPORTED LOOP UNKNOWN_GROUP CHAINED_GROUP BAD_TYPE BAD_COMMAND BAD_BUCKET BAD_WATCH EPERM"
        " UNKNOWN_BUCKET BUCKET_EXISTS",
    ),
    7: ("OFPPMFC", "BAD_PORT BAD_HW_ADDR BAD_CONFIG BAD_ADVERTISE EPERM"),
    8: ("OFPTMFC", "BAD_TABLE BAD_CONFIG EPERM"),
    9: ("OFPQOFC", "BAD_PORT BAD_QUEUE EPERM"),
    10: ("OFPSCFC", "BAD_FLAGS BAD_LEN EPERM"),
    11: ("OFPRRFC", "STALE UNSUP BAD_ROLE ID_UNSUP ID_IN_USE"),
    12: (
        "OFPMMFC",
        "UNKNOWN METER_EXISTS INVALID_METER UNKNOWN_METER BAD_COMMAND BAD_FLAGS BAD_RATE BAD_BURST BAD_BAND"
        " BAD_BAND_VALUE OUT_OF_METERS OUT_OF_BANDS",
    ),
    13: ("OFPTFFC", "BAD_TABLE BAD_METADATA BAD_TYPE BAD_LEN BAD_ARGUMENT EPERM"),
    14: (
        "OFPBPC",
        "BAD_TYPE BAD_LEN BAD_VALUE TOO_MANY DUP_TYPE BAD_EXPERIMENTER BAD_EXP_TYPE BAD_EXP_VALUE EPERM",
    ),
    15: ("OFPACFC", "INVALID UNSUPPORTED EPERM"),
    16: (
        "OFPMOFC",
        "UNKNOWN MONITOR_EXISTS INVALID_MONITOR UNKNOWN_MONITOR BAD_COMMAND BAD_FLAGS BAD_TABLE_ID BAD_OUT",
    ),
    17: (
        "OFPBFC",
        "UNKNOWN EPERM BAD_ID BUNDLE_EXIST BUNDLE_CLOSED OUT_OF_BUNDLES BAD_TYPE BAD_FLAGS MSG_BAD_LEN MSG_BAD_XID"
        " MSG_UNSUP MSG_CONFLICT MSG_TOO_MANY MSG_FAILED TIMEOUT BUNDLE_IN_PROGRESS SCHED_NOT_SUPPORTED SCHED_FUTURE"
        " SCHED_PAST",
    ),
}
_NICIRA_CODES: dict[int, str] = {
    2: "NXBRC_NXM_INVALID",
    3: "NXBRC_NXM_BAD_TYPE",
    4: "NXBRC_MUST_BE_ZERO",
    5: "NXBRC_BAD_REASON",
    9: "NXBRC_FM_BAD_EVENT",
    10: "NXBRC_UNENCODABLE_ERROR",
    11: "NXBAC_MUST_BE_ZERO",
    12: "NXFMFC_HARDWARE",
    13: "NXFMFC_BAD_TABLE_ID",
    15: "NXBAC_BAD_CONJUNCTION",
    22: "OFPBFC_BAD_VERSION",
    23: "NXQOFC_QUEUE_ERROR",
}


@dataclass(frozen=True, slots=True)
class SwitchError(Message):
    """What a switch says went wrong with the message whose transaction identifier it repeats.

    ``data`` is the beginning of that message (or text, for a failed hello). ``code`` is the experimenter's own type
    where ``experimenter`` is not None.
    """

    kind: ClassVar[int] = 1
    type: int
    code: int
    data: bytes = b""
    experimenter: int | None = None

    @property
    def name(self) -> str:
        """The registered name of the error, such as ``OFPFMFC_TABLE_FULL``, or its numbers."""
        if self.experimenter is not None:
            known = _NICIRA_CODES.get(self.code) if self.experimenter == NICIRA else None
            return known or f"experimenter {self.experimenter:#x} error {self.code}"
        prefix, codes = _CODES.get(self.type, ("", ""))
        names = codes.split()
        return f"{prefix}_{names[self.code]}" if self.code < len(names) else f"error {self.type}/{self.code}"

    @property
    def body(self) -> bytes:
        """The ofp_error_msg or ofp_error_experimenter_msg structure after its header."""
        if self.experimenter is not None:
            return _EXPERIMENTER_HEAD.pack(EXPERIMENTER, self.code, self.experimenter) + self.data
        return _HEAD.pack(self.type, self.code) + self.data

    def __str__(self) -> str:
        return self.name


class Refused(DataplaneError):
    """The switch answered a request with an error. ``request`` is what it was asked, ``error`` what it said."""

    def __init__(self, request: Message, error: SwitchError) -> None:
        super().__init__(f"{type(request).__name__} refused: {error.name}")
        self.request = request
        self.error = error


def read_error(data: Octets) -> SwitchError:
    """The body of an error message. Raises MalformedMessage."""
    kind, code = data.unpack(_HEAD)
    experimenter = data.u32() if kind == EXPERIMENTER else None
    return SwitchError(kind, code, data.rest(), experimenter)
