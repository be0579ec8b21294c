"""What is configured for one session. Checked when made, so that the session never meets a value it cannot use."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address

from bagpipe.errors import LocalMisuse
from bagpipe.wire.family import Family

_MAX_AS = 0xFFFFFFFF
_MAX_HOLD_TIME = 0xFFFF
_MIN_HOLD_TIME = 3
_MAX_RESTART_TIME = 0xFFF


class Mode(enum.Enum):
    """Who opens the TCP connection."""

    ACTIVE = "active"
    PASSIVE = "passive"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Settings of one session. Times are seconds. Raises :class:`LocalMisuse` for a value that BGP cannot carry."""

    local_as: int
    peer_as: int | None
    """AS the peer has to be in; None accepts whatever it says."""
    router_id: IPv4Address
    families: tuple[Family, ...]
    """Families offered; a session carries those that the peer offers too."""
    hold_time: int = 90
    """Proposed hold time: 0 (no keepalives at all) or 3 to 65535; the smaller of both sides' is used."""
    connect_retry: float = 5.0
    """Between two attempts at a TCP connection (ConnectRetryTime), times a jitter."""
    mode: Mode = Mode.BOTH
    idle_hold: float = 1.0
    """Pause after a first failure; doubles with each failure up to ``idle_hold_max`` (DampPeerOscillations)."""
    idle_hold_max: float = 120.0
    """Longest pause; also how long a session has to last for its end to count as a first failure again."""
    open_hold: float = 240.0
    """Hold time while waiting for the OPEN (RFC 4271 section 8.2.2 suggests 4 minutes)."""
    extended_message: bool = True
    """Offer messages of up to 65535 octets (RFC 8654)."""
    graceful_restart_time: int | None = 120
    """Offer graceful restart as a helper (RFC 4724, 8538) with this restart time; None does not offer it."""
    add_path_receive: tuple[Family, ...] = ()
    """Families for which several paths per route are accepted (RFC 7911)."""
    extended_next_hop: bool = True
    """Offer IPv6 next hops for IPv4 and VPNv4 routes (RFC 8950)."""
    replace_established: bool = False
    """Whether a new connection of the peer replaces an established session also without graceful restart, as RFC 4271
    section 6.8 leaves to configuration (CollisionDetectEstablishedState). By default it is closed with Cease 7."""

    def __post_init__(self) -> None:
        if not 1 <= self.local_as <= _MAX_AS:
            raise LocalMisuse("local_as", self.local_as, "not in 1 to 4294967295")
        if self.peer_as is not None and not 1 <= self.peer_as <= _MAX_AS:
            raise LocalMisuse("peer_as", self.peer_as, "not in 1 to 4294967295")
        if int(self.router_id) == 0:
            raise LocalMisuse("router_id", str(self.router_id), "zero is no BGP identifier")
        if self.hold_time != 0 and not _MIN_HOLD_TIME <= self.hold_time <= _MAX_HOLD_TIME:
            raise LocalMisuse("hold_time", self.hold_time, "neither 0 nor in 3 to 65535")
        for field in ("connect_retry", "idle_hold", "idle_hold_max", "open_hold"):
            if getattr(self, field) <= 0:
                raise LocalMisuse(field, getattr(self, field), "not a positive number of seconds")
        if self.graceful_restart_time is not None and not 0 <= self.graceful_restart_time <= _MAX_RESTART_TIME:
            raise LocalMisuse("graceful_restart_time", self.graceful_restart_time, "not in 0 to 4095")
