"""FlowSpec NLRI of VPNs: RFC 8955 sections 4 and 8, RFC 8956 section 3.

One NLRI is a length (one octet below 240, else two octets 0xfnnn), a route distinguisher and a list of components. All
of it but the length is the key: to BGP it is an opaque string (RFC 8955 section 4). There is no payload. A length
below 240 written in two octets is read, and sent on in one.

What is wrong, and what follows (RFC 8955 sections 4.2 and 10, RFC 7606 sections 2 and 5.3):

* a length that overruns the field: the session is reset, as the routes cannot be told apart;
* components out of order or given twice, of unknown type, cut short, or an IPv4 prefix longer than 32 bits: the NLRI
  is malformed, and treated as withdrawn. As no such key is ever accepted nothing is held that had to go, and the NLRI
  is passed over.

Not done: the order of precedence between flow specifications (RFC 8955 section 5.1) and the validation against unicast
routes (section 6), which VPN FlowSpec does by route target (section 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bagpipe.errors import LocalMisuse, RemoteFault
from bagpipe.identifiers import RouteDistinguisher
from bagpipe.wire.family import FLOWSPEC_VPNV4, FLOWSPEC_VPNV6, Family
from bagpipe.wire.nlri.flowspec_component import Component, pack, parse

_RD_SIZE = 8
_LONG_LENGTH = 0xF0
_MAXIMUM_LENGTH = 0xFFF


@dataclass(frozen=True, slots=True)
class FlowSpecNlri:
    """A flow specification within a VPN. Raises LocalMisuse for components out of order or given twice."""

    route_distinguisher: RouteDistinguisher
    components: tuple[Component, ...]

    def __post_init__(self) -> None:
        kinds = [component.kind for component in self.components]
        if any(later <= earlier for earlier, later in pairwise(kinds)):
            raise LocalMisuse("components", kinds, "types must rise (RFC 8955 section 4.2)")

    def __str__(self) -> str:
        return " ".join((f"flow {self.route_distinguisher}", *(str(component) for component in self.components)))


class FlowSpecCodec:
    """The NLRI of one of the two FlowSpec-VPN families."""

    def __init__(self, family: Family, *, ipv6: bool) -> None:
        self.family = family
        self._ipv6 = ipv6

    def split(self, data: bytes) -> list[tuple[int, list[bytes], list[bytes]]]:
        """The well-formed routes of an MP_REACH_NLRI field. Raises RemoteFault (reset) if a length overruns it."""
        keys = self._keys(data)
        return [(0, keys, [b""] * len(keys))] if keys else []

    def split_withdrawn(self, data: bytes) -> list[tuple[int, list[bytes]]]:
        """The well-formed routes of an MP_UNREACH_NLRI field. Raises as :meth:`split`."""
        keys = self._keys(data)
        return [(0, keys)] if keys else []

    def split_add_path(self, data: bytes) -> list[tuple[int, int, bytes, bytes]]:
        """The routes of a field with path identifiers: (path id, shape, key, payload). Raises as :meth:`split`."""
        routes = []
        position = 0
        while position < len(data):
            start, end = self._bounds(data, position + 4)
            if self._well_formed(data[start:end]):
                routes.append((int.from_bytes(data[position : position + 4]), 0, data[start:end], b""))
            position = end
        return routes

    def _bounds(self, data: bytes, position: int) -> tuple[int, int]:
        """Where the value of the NLRI whose length is at ``position`` begins and ends."""
        size = len(data)
        if position >= size:
            raise self._fault("a route without a length")
        length = data[position]
        start = position + 1
        if length >= _LONG_LENGTH:
            if start >= size:
                raise self._fault("a length is cut short")
            length = (length & 0x0F) << 8 | data[start]
            start += 1
        if start + length > size:
            raise self._fault(f"{start + length - size} bytes missing")
        return start, start + length

    def _keys(self, data: bytes) -> list[bytes]:
        keys = []
        position = 0
        while position < len(data):
            start, position = self._bounds(data, position)
            key = data[start:position]
            if self._well_formed(key):
                keys.append(key)
        return keys

    def _well_formed(self, key: bytes) -> bool:
        if len(key) < _RD_SIZE:
            return False
        try:
            parse(key[_RD_SIZE:], ipv6=self._ipv6)
        except RemoteFault:
            return False
        return True

    def _fault(self, text: str) -> RemoteFault:
        return RemoteFault(f"{self.family} NLRI: {text}", code=3, subcode=10)

    def join(self, shape: int, key: bytes, payload: bytes) -> bytes:
        """One NLRI as announced."""
        del shape, payload
        length = len(key)
        return (bytes((length,)) if length < _LONG_LENGTH else (0xF000 | length).to_bytes(2)) + key

    def join_many(self, shape: int, keys: Sequence[bytes], payloads: Sequence[bytes]) -> list[bytes]:
        """Many NLRI as announced."""
        return [self.join(shape, key, payload) for key, payload in zip(keys, payloads, strict=True)]

    def join_withdrawn(self, shape: int, key: bytes) -> bytes:
        """One NLRI as withdrawn."""
        return self.join(shape, key, b"")

    def decode(self, shape: int, key: bytes, payload: bytes) -> FlowSpecNlri:
        """The route as a value."""
        del shape, payload
        return FlowSpecNlri(RouteDistinguisher(key[:_RD_SIZE]), parse(key[_RD_SIZE:], ipv6=self._ipv6))

    def encode(self, nlri: FlowSpecNlri) -> tuple[int, bytes, bytes]:
        """Shape, key and payload of a route. Raises LocalMisuse if this family cannot carry it."""
        key = nlri.route_distinguisher.packed + pack(nlri.components, ipv6=self._ipv6)
        if len(key) > _MAXIMUM_LENGTH:
            raise LocalMisuse("components", len(key), f"longer than {_MAXIMUM_LENGTH} octets")
        return 0, key, b""

    def route_distinguisher(self, shape: int, key: bytes) -> bytes | None:
        """The 8 octets of the route distinguisher."""
        del shape
        return key[:_RD_SIZE]


FLOWSPEC_VPNV4_CODEC = FlowSpecCodec(FLOWSPEC_VPNV4, ipv6=False)
FLOWSPEC_VPNV6_CODEC = FlowSpecCodec(FLOWSPEC_VPNV6, ipv6=True)
