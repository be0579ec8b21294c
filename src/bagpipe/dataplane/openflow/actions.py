"""What is done to a packet: actions of flows and of group buckets.

OpenFlow Switch Specification 1.5.1 section 7.2.6, and the Nicira actions resubmit, push and pop of ovs-actions(7). Any
other action that a switch shows is kept as octets (:class:`UnknownAction`). Does not do: meters, queues, ct, learn,
encap. OVS 3.1 knows neither copy-ttl action: it refuses them with OFPBAC_BAD_TYPE; copy the TTL fields with
:class:`CopyField`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from bagpipe.dataplane.openflow.fields import Criterion, Field, read_criterion, read_header
from bagpipe.dataplane.openflow.octets import Octets, padding

ETH_IPV4 = 0x0800
ETH_ARP = 0x0806
ETH_VLAN = 0x8100
ETH_IPV6 = 0x86DD
ETH_MPLS = 0x8847

# Reserved ports (OpenFlow 1.5.1 section 7.2.1).
PORT_MAX = 0xFFFFFF00
PORT_IN_PORT = 0xFFFFFFF8
PORT_NORMAL = 0xFFFFFFFA
PORT_FLOOD = 0xFFFFFFFB
PORT_ALL = 0xFFFFFFFC
PORT_CONTROLLER = 0xFFFFFFFD
PORT_LOCAL = 0xFFFFFFFE
PORT_ANY = 0xFFFFFFFF
_PORT_NAMES = {
    PORT_IN_PORT: "in_port",
    PORT_NORMAL: "NORMAL",
    PORT_FLOOD: "FLOOD",
    PORT_ALL: "ALL",
    PORT_CONTROLLER: "CONTROLLER",
    PORT_LOCAL: "LOCAL",
}

_EXPERIMENTER = 0xFFFF
_NICIRA = 0x00002320
_RESUBMIT_TABLE, _STACK_PUSH, _STACK_POP = 14, 27, 28
_HEAD = Struct("!HH")
_NUMBER = Struct("!HHI")
_ETHERTYPE = Struct("!HHH2x")
_OCTET = Struct("!HHB3x")
_OUTPUT = Struct("!HHIH6x")
_COPY = Struct("!HHHHH2x")
_RESUBMIT = Struct("!HHIHHB3x")
_STACK = Struct("!HHIHH")
_STACK_SIZE = 24


class Action(abc.ABC):
    """One step of an action list."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def packed(self) -> bytes:
        """The action as OpenFlow has it, a multiple of eight octets."""


@dataclass(frozen=True, slots=True)
class Output(Action):
    """Send a copy out of ``port``; ``max_len`` octets of it where the port is the controller."""

    port: int
    max_len: int = 0

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        return _OUTPUT.pack(0, 16, self.port, self.max_len)

    def __str__(self) -> str:
        return f"output:{_PORT_NAMES.get(self.port, self.port)}"


@dataclass(frozen=True, slots=True)
class ToGroup(Action):
    """Hand the packet to a group."""

    group: int

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        return _NUMBER.pack(22, 8, self.group)

    def __str__(self) -> str:
        return f"group:{self.group}"


@dataclass(frozen=True, slots=True)
class SetField(Action):
    """Give a field, or those of its bits that the mask names, a value."""

    to: Criterion

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        body = self.to.packed
        size = 4 + len(body)
        pad = padding(size)
        return _HEAD.pack(25, size + len(pad)) + body + pad

    def __str__(self) -> str:
        name, value = str(self.to).split("=", 1)
        return f"set_field:{value}->{name}"


def load(field: Field, value: int, offset: int = 0, bits: int | None = None) -> SetField:
    """Put ``value`` into ``bits`` bits of a field from bit ``offset`` on; to the field's end if ``bits`` is None.

    What ovs-ofctl writes for ``load:`` in OpenFlow 1.5. Raises LocalMisuse if the value does not fit.
    """
    width = field.bits - offset if bits is None else bits
    return SetField(field.masked(value << offset, (1 << width) - 1 << offset))


@dataclass(frozen=True, slots=True)
class CopyField(Action):
    """Copy ``bits`` bits from one field into another, each from its own bit offset on."""

    source: Field
    destination: Field
    bits: int
    source_offset: int = 0
    destination_offset: int = 0

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        ids = self.source.header + self.destination.header
        size = _COPY.size + len(ids)
        pad = padding(size)
        head = _COPY.pack(28, size + len(pad), self.bits, self.source_offset, self.destination_offset)
        return head + ids + pad

    def __str__(self) -> str:
        def part(name: str, offset: int) -> str:
            return f"{name}[{offset}..{offset + self.bits - 1}]"

        source, destination = self.source.name, self.destination.name
        return f"move:{part(source, self.source_offset)}->{part(destination, self.destination_offset)}"


@dataclass(frozen=True, slots=True)
class PushVlan(Action):
    """Put an 802.1Q tag (VID 0) in front; set VLAN_VID after it."""

    ethertype: int = ETH_VLAN

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        return _ETHERTYPE.pack(17, 8, self.ethertype)

    def __str__(self) -> str:
        return f"push_vlan:{self.ethertype:#x}"


@dataclass(frozen=True, slots=True)
class PushMpls(Action):
    """Put a label stack entry in front; its TTL is that of what it covers."""

    ethertype: int = ETH_MPLS

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        return _ETHERTYPE.pack(19, 8, self.ethertype)

    def __str__(self) -> str:
        return f"push_mpls:{self.ethertype:#x}"


@dataclass(frozen=True, slots=True)
class PopMpls(Action):
    """Take the outer label stack entry away; what it covered is of ``ethertype``."""

    ethertype: int

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        return _ETHERTYPE.pack(20, 8, self.ethertype)

    def __str__(self) -> str:
        return f"pop_mpls:{self.ethertype:#x}"


@dataclass(frozen=True, slots=True)
class SetTtl(Action):
    """Give the IPv4 TTL or IPv6 hop limit a value."""

    ttl: int

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        return _OCTET.pack(23, 8, self.ttl)

    def __str__(self) -> str:
        return f"set_nw_ttl:{self.ttl}"


@dataclass(frozen=True, slots=True)
class SetMplsTtl(Action):
    """Give the TTL of the outer label a value."""

    ttl: int

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        return _OCTET.pack(15, 8, self.ttl)

    def __str__(self) -> str:
        return f"set_mpls_ttl:{self.ttl}"


@dataclass(frozen=True, slots=True)
class _Bare(Action):
    """An action without an argument."""

    kind: int
    name: str

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        return _NUMBER.pack(self.kind, 8, 0)

    def __str__(self) -> str:
        return self.name


COPY_TTL_OUT = _Bare(11, "copy_ttl_out")
"""TTL from the next-to-outer header to the outer one; refused by OVS 3.1."""
COPY_TTL_IN = _Bare(12, "copy_ttl_in")
"""TTL from the outer header to the next-to-outer one; refused by OVS 3.1."""
DEC_MPLS_TTL = _Bare(16, "dec_mpls_ttl")
"""Lower the outer label's TTL by one; at 0 or 1 the packet goes no further."""
POP_VLAN = _Bare(18, "pop_vlan")
"""Take the outer 802.1Q tag away."""
DEC_TTL = _Bare(24, "dec_ttl")
"""Lower the IPv4 TTL or IPv6 hop limit by one; at 0 or 1 the packet goes no further."""


@dataclass(frozen=True, slots=True)
class Resubmit(Action):
    """Look the packet up in ``table`` as if it had come in by ``port`` and carry on after it (Nicira).

    ``port`` has 16 bits on the wire: 0 to 0xfeff, or a reserved port.
    """

    table: int
    port: int = PORT_IN_PORT

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        port = self.port - 0xFFFF0000 if self.port >= PORT_MAX else self.port
        return _RESUBMIT.pack(_EXPERIMENTER, 16, _NICIRA, _RESUBMIT_TABLE, port, self.table)

    def __str__(self) -> str:
        return f"resubmit({'' if self.port == PORT_IN_PORT else self.port},{self.table})"


@dataclass(frozen=True, slots=True)
class _StackAction(Action):
    field: Field
    bits: int
    offset: int = 0

    _SUBTYPE: ClassVar[int]
    _WORD: ClassVar[str]

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        head = _STACK.pack(_EXPERIMENTER, _STACK_SIZE, _NICIRA, self._SUBTYPE, self.offset)
        return (head + self.field.header + self.bits.to_bytes(2)).ljust(_STACK_SIZE, b"\0")

    def __str__(self) -> str:
        return f"{self._WORD}:{self.field.name}[{self.offset}..{self.offset + self.bits - 1}]"


@dataclass(frozen=True, slots=True)
class Push(_StackAction):
    """Put ``bits`` bits of a field, from bit ``offset`` on, onto the stack that a packet has while it is looked up."""

    _SUBTYPE = _STACK_PUSH
    _WORD = "push"


@dataclass(frozen=True, slots=True)
class Pop(_StackAction):
    """Take what was pushed last off the stack, into ``bits`` bits of a field from bit ``offset`` on."""

    _SUBTYPE = _STACK_POP
    _WORD = "pop"


@dataclass(frozen=True, slots=True)
class UnknownAction(Action):
    """An action of another kind, as the switch gave it: all octets after its type and length."""

    kind: int
    body: bytes

    @property
    def packed(self) -> bytes:
        """The action as OpenFlow has it."""
        return _HEAD.pack(self.kind, 4 + len(self.body)) + self.body

    def __str__(self) -> str:
        return f"action-{self.kind:#x}:{self.body.hex()}"


def pack_actions(actions: tuple[Action, ...]) -> bytes:
    """An action list as OpenFlow has it."""
    return b"".join([action.packed for action in actions])


def _copy_field(data: Octets) -> Action:
    _, _, bits, source_offset, destination_offset = data.unpack(_COPY)
    source, _ = read_header(data)
    destination, _ = read_header(data)
    return CopyField(source, destination, bits, source_offset, destination_offset)


def _set_field(data: Octets) -> Action:
    data.skip(4)
    return SetField(read_criterion(data))


def _output(data: Octets) -> Action:
    _, _, port, max_len = data.unpack(_OUTPUT)
    return Output(port, max_len)


def _number(make: Callable[[int], Action], shape: Struct) -> Callable[[Octets], Action]:
    def read(data: Octets) -> Action:
        return make(data.unpack(shape)[2])

    return read


def _bare(action: _Bare) -> Callable[[Octets], Action]:
    def read(data: Octets) -> Action:
        data.skip(8)
        return action

    return read


_READERS: dict[int, Callable[[Octets], Action]] = {
    0: _output,
    11: _bare(COPY_TTL_OUT),
    12: _bare(COPY_TTL_IN),
    15: _number(SetMplsTtl, _OCTET),
    16: _bare(DEC_MPLS_TTL),
    17: _number(PushVlan, _ETHERTYPE),
    18: _bare(POP_VLAN),
    19: _number(PushMpls, _ETHERTYPE),
    20: _number(PopMpls, _ETHERTYPE),
    22: _number(ToGroup, _NUMBER),
    23: _number(SetTtl, _OCTET),
    24: _bare(DEC_TTL),
    25: _set_field,
    28: _copy_field,
}


def _read_nicira(data: Octets, size: int) -> Action:
    data.skip(4)
    body = data.rest()
    vendor, subtype = int.from_bytes(body[:4]), int.from_bytes(body[4:6])
    if size == _RESUBMIT.size and (vendor, subtype) == (_NICIRA, _RESUBMIT_TABLE):
        port = int.from_bytes(body[6:8])
        return Resubmit(body[8], port + 0xFFFF0000 if port >= 0xFF00 else port)
    if size == _STACK_SIZE and vendor == _NICIRA and subtype in _STACK_KINDS:
        rest = Octets(body, data.what, 6)
        offset = rest.u16()
        field, _ = read_header(rest)
        return _STACK_KINDS[subtype](field, rest.u16(), offset)
    return UnknownAction(_EXPERIMENTER, body)


_STACK_KINDS: dict[int, Callable[[Field, int, int], Action]] = {_STACK_PUSH: Push, _STACK_POP: Pop}


def read_actions(data: Octets) -> tuple[Action, ...]:
    """All actions to the end of ``data``. Raises MalformedMessage."""
    actions: list[Action] = []
    while data.remaining:
        kind, size = data.peek_u16(), data.peek_u16(2)
        if size < 8 or size % 8:
            raise data.fault(f"action of type {kind} and length {size}")
        one = data.sub(size, f"action {kind}")
        reader = _READERS.get(kind)
        if reader is not None:
            actions.append(reader(one))
            if one.remaining >= 8:
                raise one.fault(f"{one.remaining} octets too many")
        elif kind == _EXPERIMENTER:
            actions.append(_read_nicira(one, size))
        else:
            one.skip(4)
            actions.append(UnknownAction(kind, one.rest()))
    return tuple(actions)
