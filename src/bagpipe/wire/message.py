"""BGP messages other than UPDATE, and the header of all: RFC 4271 sections 4 and 6.

Also: capabilities parameter and unsupported parameters (RFC 5492, RFC 4271 section 6.2), extended optional parameters
(RFC 9072), Cease subcodes (RFC 4486, 8538), shutdown communication (RFC 9003), ROUTE-REFRESH (RFC 2918, 7313), finite
state machine error subcodes (RFC 6608), send hold timer error (RFC 9687).

Not here: the body of an UPDATE, outbound route filters in a ROUTE-REFRESH (RFC 5291), and whether the values of an
OPEN are acceptable to a given neighbour, which the session decides.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from bagpipe.errors import RemoteFault
from bagpipe.wire.capability import Capability, decode_capabilities
from bagpipe.wire.family import Family
from bagpipe.wire.reader import Reader

HEADER_SIZE: Final = 19
MARKER: Final = b"\xff" * 16
MAX_MESSAGE: Final = 4096
MAX_EXTENDED_MESSAGE: Final = 65535
VERSION: Final = 4
AS_TRANS: Final = 23456
_CAPABILITIES_PARAMETER: Final = 2
_EXTENDED_FORMAT: Final = b"\xff"


class MessageType(enum.IntEnum):
    """Type octet of the header (RFC 4271 section 4.1, RFC 2918)."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4
    ROUTE_REFRESH = 5


class ErrorCode(enum.IntEnum):
    """Error code of a NOTIFICATION (RFC 4271 section 4.5, 7313, 9687)."""

    MESSAGE_HEADER_ERROR = 1
    OPEN_MESSAGE_ERROR = 2
    UPDATE_MESSAGE_ERROR = 3
    HOLD_TIMER_EXPIRED = 4
    FINITE_STATE_MACHINE_ERROR = 5
    CEASE = 6
    ROUTE_REFRESH_MESSAGE_ERROR = 7
    SEND_HOLD_TIMER_EXPIRED = 8


class HeaderError(enum.IntEnum):
    """Subcodes of code 1 (RFC 4271 section 6.1)."""

    CONNECTION_NOT_SYNCHRONIZED = 1
    BAD_MESSAGE_LENGTH = 2
    BAD_MESSAGE_TYPE = 3


class OpenError(enum.IntEnum):
    """Subcodes of code 2 (RFC 4271 section 6.2, RFC 5492)."""

    UNSPECIFIC = 0
    UNSUPPORTED_VERSION_NUMBER = 1
    BAD_PEER_AS = 2
    BAD_BGP_IDENTIFIER = 3
    UNSUPPORTED_OPTIONAL_PARAMETER = 4
    UNACCEPTABLE_HOLD_TIME = 6
    UNSUPPORTED_CAPABILITY = 7
    ROLE_MISMATCH = 11


class UpdateError(enum.IntEnum):
    """Subcodes of code 3 (RFC 4271 section 6.3)."""

    MALFORMED_ATTRIBUTE_LIST = 1
    UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE = 2
    MISSING_WELL_KNOWN_ATTRIBUTE = 3
    ATTRIBUTE_FLAGS_ERROR = 4
    ATTRIBUTE_LENGTH_ERROR = 5
    INVALID_ORIGIN_ATTRIBUTE = 6
    INVALID_NEXT_HOP_ATTRIBUTE = 8
    OPTIONAL_ATTRIBUTE_ERROR = 9
    INVALID_NETWORK_FIELD = 10
    MALFORMED_AS_PATH = 11


class StateError(enum.IntEnum):
    """Subcodes of code 5 (RFC 6608)."""

    UNSPECIFIED = 0
    UNEXPECTED_MESSAGE_IN_OPENSENT = 1
    UNEXPECTED_MESSAGE_IN_OPENCONFIRM = 2
    UNEXPECTED_MESSAGE_IN_ESTABLISHED = 3


class CeaseSubcode(enum.IntEnum):
    """Subcodes of code 6 (RFC 4486, RFC 8538 section 3, RFC 9384)."""

    UNSPECIFIC = 0
    MAXIMUM_PREFIXES_REACHED = 1
    ADMINISTRATIVE_SHUTDOWN = 2
    PEER_DECONFIGURED = 3
    ADMINISTRATIVE_RESET = 4
    CONNECTION_REJECTED = 5
    OTHER_CONFIGURATION_CHANGE = 6
    CONNECTION_COLLISION_RESOLUTION = 7
    OUT_OF_RESOURCES = 8
    HARD_RESET = 9
    BFD_DOWN = 10


class RefreshError(enum.IntEnum):
    """Subcodes of code 7 (RFC 7313 section 5)."""

    INVALID_MESSAGE_LENGTH = 1


class RefreshSubtype(enum.IntEnum):
    """Message subtype of a ROUTE-REFRESH (RFC 7313 section 3.2)."""

    REQUEST = 0
    BEGIN = 1
    END = 2


_SUBCODES: Final[dict[int, type[enum.IntEnum]]] = {
    ErrorCode.MESSAGE_HEADER_ERROR: HeaderError,
    ErrorCode.OPEN_MESSAGE_ERROR: OpenError,
    ErrorCode.UPDATE_MESSAGE_ERROR: UpdateError,
    ErrorCode.FINITE_STATE_MACHINE_ERROR: StateError,
    ErrorCode.CEASE: CeaseSubcode,
    ErrorCode.ROUTE_REFRESH_MESSAGE_ERROR: RefreshError,
}
_WITH_COMMUNICATION: Final = (CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, CeaseSubcode.ADMINISTRATIVE_RESET)


def frame(message_type: int, body: bytes) -> bytes:
    """A whole message: marker, length, type, ``body`` (RFC 4271 section 4.1). ``body``: at most 65516 octets."""
    return MARKER + (HEADER_SIZE + len(body)).to_bytes(2) + message_type.to_bytes(1) + body


def update(body: bytes) -> bytes:
    """A whole UPDATE around ``body``."""
    return frame(MessageType.UPDATE, body)


KEEPALIVE: Final = frame(MessageType.KEEPALIVE, b"")


@dataclass(frozen=True, slots=True)
class Open:
    """An OPEN (RFC 4271 section 4.2). ``my_as`` is the 2-octet field, ``hold_time`` seconds as proposed."""

    my_as: int
    hold_time: int
    router_id: IPv4Address
    capabilities: tuple[Capability, ...] = ()
    version: int = VERSION

    def encode(self) -> bytes:
        """The body. All capabilities in one parameter; in the format of RFC 9072 only if they need more than 253."""
        capabilities = b"".join(capability.encode() for capability in self.capabilities)
        size = len(capabilities)
        if size == 0:
            parameters = b"\0"
        elif size <= 253:
            parameters = bytes((size + 2, _CAPABILITIES_PARAMETER, size)) + capabilities
        else:
            parameters = (
                _EXTENDED_FORMAT * 2
                + (size + 3).to_bytes(2)
                + bytes((_CAPABILITIES_PARAMETER,))
                + size.to_bytes(2)
                + capabilities
            )
        head = bytes((self.version,)) + self.my_as.to_bytes(2) + self.hold_time.to_bytes(2)
        return head + self.router_id.packed + parameters

    @classmethod
    def decode(cls, body: bytes) -> Open:
        """An OPEN from its body.

        Raises :class:`RemoteFault` of code 2 (RFC 4271 section 6.2): subcode 1 for a version other than 4 (data: the
        version we speak), 4 for an optional parameter other than capabilities, 0 for whatever cannot be taken apart.
        """
        reader = Reader(body, "OPEN", code=ErrorCode.OPEN_MESSAGE_ERROR, subcode=OpenError.UNSPECIFIC)
        version = reader.u8()
        if version != VERSION:
            raise RemoteFault(
                f"OPEN: version {version} is not spoken here",
                code=ErrorCode.OPEN_MESSAGE_ERROR,
                subcode=OpenError.UNSUPPORTED_VERSION_NUMBER,
                data=VERSION.to_bytes(2),
            )
        my_as, hold_time = reader.u16(), reader.u16()
        router_id = IPv4Address(reader.take(4))
        return cls(my_as, hold_time, router_id, tuple(_capabilities(reader)), version)


def _capabilities(reader: Reader) -> list[Capability]:
    size = reader.u8()
    tail = reader.rest()
    # RFC 9072 section 2: the type of the first parameter, and not the length before it, tells the format.
    extended = size != 0 and tail[:1] == _EXTENDED_FORMAT
    reader = Reader(tail, "OPEN optional parameters", code=ErrorCode.OPEN_MESSAGE_ERROR, subcode=OpenError.UNSPECIFIC)
    if extended:
        reader.u8()
        size = reader.u16()
    parameters = reader.sub(size, reader.what)
    reader.finish()
    found: list[Capability] = []
    while parameters.remaining:
        kind = parameters.u8()
        length = parameters.u16() if extended else parameters.u8()
        value = parameters.sub(length, f"OPEN optional parameter {kind}")
        if kind != _CAPABILITIES_PARAMETER:
            raise RemoteFault(
                f"OPEN: optional parameter {kind} is not supported",
                code=ErrorCode.OPEN_MESSAGE_ERROR,
                subcode=OpenError.UNSUPPORTED_OPTIONAL_PARAMETER,
            )
        found += decode_capabilities(value)
    return found


@dataclass(frozen=True, slots=True)
class Notification:
    """A NOTIFICATION (RFC 4271 section 4.5). str() is the text for people, in one line whatever the peer wrote."""

    code: int
    subcode: int = 0
    data: bytes = b""

    def encode(self) -> bytes:
        """The body."""
        return bytes((self.code, self.subcode)) + self.data

    @classmethod
    def decode(cls, body: bytes) -> Notification:
        """A NOTIFICATION from its body of at least 2 octets, which the framer has made sure of."""
        return cls(body[0], body[1], body[2:])

    @classmethod
    def cease(cls, subcode: CeaseSubcode, communication: str = "") -> Notification:
        """A Cease; for shutdown and reset with a ``communication`` of up to 255 octets of UTF-8 (RFC 9003)."""
        if not communication or subcode not in _WITH_COMMUNICATION:
            return cls(ErrorCode.CEASE, subcode)
        text = communication.encode()[:255].decode("utf-8", "ignore").encode()
        return cls(ErrorCode.CEASE, subcode, len(text).to_bytes(1) + text)

    @property
    def is_hard_reset(self) -> bool:
        """Whether the sender wants the routes forgotten in spite of graceful restart (RFC 8538 section 3)."""
        return self.code == ErrorCode.CEASE and self.subcode == CeaseSubcode.HARD_RESET

    def as_hard_reset(self) -> Notification:
        """The same, wrapped as a Hard Reset (RFC 8538 section 3.1)."""
        return Notification(ErrorCode.CEASE, CeaseSubcode.HARD_RESET, self.encode())

    @property
    def cause(self) -> Notification:
        """What a Hard Reset carries, or the NOTIFICATION itself."""
        return Notification.decode(self.data) if self.is_hard_reset and len(self.data) >= 2 else self

    @property
    def communication(self) -> str:
        """The shutdown communication (RFC 9003), with escapes for whatever does not print; empty if there is none."""
        if self.code != ErrorCode.CEASE or self.subcode not in _WITH_COMMUNICATION or not self.data:
            return ""
        text = self.data[1 : 1 + self.data[0]].decode("utf-8", "backslashreplace")
        return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)

    def __str__(self) -> str:
        if self.is_hard_reset and self.cause is not self:
            return f"cease / hard reset ({self.cause})"
        text = _title(ErrorCode, self.code)
        subcodes = _SUBCODES.get(self.code)
        if subcodes is not None and (self.subcode or self.code == ErrorCode.CEASE):
            text += f" / {_title(subcodes, self.subcode)}"
        elif self.subcode:
            text += f" / {self.subcode}"
        if self.communication:
            return f'{text}: "{self.communication}"'
        return f"{text} [{self.data[:32].hex()}]" if self.data else text


def _title(names: type[enum.IntEnum], number: int) -> str:
    try:
        return names(number).name.lower().replace("_", " ")
    except ValueError:
        return str(number)


@dataclass(frozen=True, slots=True)
class RouteRefresh:
    """A ROUTE-REFRESH (RFC 2918 section 3, RFC 7313 section 3.2). ``subtype`` is a :class:`RefreshSubtype` if known."""

    family: Family
    subtype: int = RefreshSubtype.REQUEST

    def encode(self) -> bytes:
        """The body: AFI, subtype, SAFI."""
        return bytes((self.family.afi >> 8, self.family.afi & 0xFF, self.subtype, self.family.safi))

    @classmethod
    def decode(cls, body: bytes) -> RouteRefresh:
        """A ROUTE-REFRESH from its body.

        Raises :class:`RemoteFault` 7/1, data the whole message, if the body has not 4 octets (RFC 7313 section 5).
        """
        if len(body) != 4:
            raise RemoteFault(
                f"ROUTE-REFRESH: body of {len(body)} octets",
                code=ErrorCode.ROUTE_REFRESH_MESSAGE_ERROR,
                subcode=RefreshError.INVALID_MESSAGE_LENGTH,
                data=frame(MessageType.ROUTE_REFRESH, body),
            )
        return cls(Family(int.from_bytes(body[:2]), body[3]), body[2])
