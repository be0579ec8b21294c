"""EVPN NLRI: RFC 7432 section 7, RFC 9136 section 3.1 (type 5), RFC 9251 section 9 (types 6 to 8).

One NLRI is a route type octet, a length octet and a value. A key is the type octet and the fields that identify the
route (RFC 7432 section 7 and 7.1 to 7.4, RFC 9136 section 3.1, RFC 9251 section 9); the payload is the rest:

====  ==============================================  =======================
type  key after the type octet                        payload
====  ==============================================  =======================
1     RD, ESI, Ethernet tag                           label field
2     RD, Ethernet tag, MAC length and MAC, IP        ESI, label fields
      length and IP
3     RD, Ethernet tag, originator's length and IP
4     RD, ESI, originator's length and IP
5     RD, Ethernet tag, prefix length, prefix         ESI, gateway, label field
6, 7  all but the flags                               flags
8     all but the last six octets                     reserved, response time, flags
else  all
====  ==============================================  =======================

Label fields are kept as they came: MPLS label or VNI is told by the encapsulation (RFC 8365 section 5.1.3), not here.

What is wrong, and what follows (RFC 7606 sections 2, 5.3 and 5.4; RFC 7432 names no outcome of its own):

* a length that overruns the field, or label fields of type 1 or 2 of another size than theirs after a good key: the
  session is reset, as the routes cannot be told apart or a stale one would stay;
* a MAC length other than 48, an IP length that the type does not have, a prefix longer than its address, a value too
  short for its fields: treat-as-withdraw of that one NLRI. No route with such a key is ever accepted, so nothing is
  held that had to go, and the NLRI is passed over;
* an unknown route type: kept and shown, with all of it as the key, so that a reflector stays transparent to newer
  types. RFC 7606 section 5.4 would have it discarded.

The rules of RFC 9136 sections 3.1 and 3.2 on which of ESI, gateway, label and router's MAC may stand together are those
of who uses a route (:mod:`bagpipe.vpn.prefix_routes`): a reflector passes on what it does not use.
"""

from __future__ import annotations

from collections.abc import Sequence

from bagpipe.errors import RemoteFault
from bagpipe.wire.family import EVPN, Family
from bagpipe.wire.nlri.evpn_route import (
    ETHERNET_AUTO_DISCOVERY,
    ETHERNET_SEGMENT,
    INCLUSIVE_MULTICAST,
    IP_PREFIX,
    MAC_IP,
    EthernetAutoDiscovery,
    EthernetSegment,
    EvpnRoute,
    InclusiveMulticast,
    IpPrefix,
    MacIpAdvertisement,
    OpaqueEvpnRoute,
)

_KNOWN_KINDS = 8
_MAC_BITS = 48
_IP_OCTETS = {0: 0, 32: 4, 128: 16}
# Type 2 by the length octet: the IP length it must have, and where its key ends. With one label field, then with two.
_MAC_IP_FORMS = {33: (0, 30), 36: (0, 30), 37: (32, 34), 40: (32, 34), 49: (128, 46), 52: (128, 46)}
_LABEL_FIELDS = (3, 6)
# RFC 9251: the octets at the end that are no part of the key, and the shortest value.
_MULTICAST_TAILS = {6: (1, 16), 7: (1, 26), 8: (6, 31)}

_Parts = tuple[bytes, bytes]


class EvpnCodec:
    """The NLRI of the EVPN family."""

    family: Family = EVPN

    def split(self, data: bytes) -> list[tuple[int, list[bytes], list[bytes]]]:
        """The routes of an MP_REACH_NLRI field. Raises RemoteFault (reset) as the module says."""
        alike = _alike(data)
        if alike is not None:
            keys, payload = alike
            return [(0, keys, [payload] * len(keys))]
        keys = []
        payloads: list[bytes] = []
        forms = _MAC_IP_FORMS
        size = len(data)
        position = 0
        while position < size:
            start = position + 2
            if start > size:
                raise _fault("a route is cut short after its type")
            kind = data[position]
            length = data[position + 1]
            position = start + length
            if position > size:
                raise _fault(f"{position - size} bytes missing")
            if kind == MAC_IP and length in forms:
                ip_bits, key_end = forms[length]
                if data[start + 22] == _MAC_BITS and data[start + 29] == ip_bits:
                    key_end += start
                    keys.append(b"\x02" + data[start : start + 8] + data[start + 18 : key_end])
                    payloads.append(data[start + 8 : start + 18] + data[key_end:position])
                    continue
            parts = _parts(kind, data[start:position])
            if parts is not None:
                keys.append(parts[0])
                payloads.append(parts[1])
        return [(0, keys, payloads)] if keys else []

    def split_withdrawn(self, data: bytes) -> list[tuple[int, list[bytes]]]:
        """The routes of an MP_UNREACH_NLRI field, whatever payload they repeat. Raises RemoteFault (reset)."""
        alike = _alike(data)
        if alike is not None:
            return [(0, alike[0])]
        keys = []
        for kind, value in _walk(data):
            parts = _parts(kind, value, withdrawn=True)
            if parts is not None:
                keys.append(parts[0])
        return [(0, keys)] if keys else []

    def split_add_path(self, data: bytes) -> list[tuple[int, int, bytes, bytes]]:
        """The routes of a field with path identifiers: (path id, shape, key, payload). Raises as :meth:`split`."""
        routes = []
        position = 0
        while position < len(data):
            if position + 6 > len(data):
                raise _fault("a path identifier is cut short")
            end = position + 6 + data[position + 5]
            for kind, value in _walk(data[position + 4 : end]):
                parts = _parts(kind, value)
                if parts is not None:
                    routes.append((int.from_bytes(data[position : position + 4]), 0, *parts))
            position = end
        return routes

    def join(self, shape: int, key: bytes, payload: bytes) -> bytes:
        """One NLRI as announced."""
        del shape
        kind = key[0]
        segment_inside = kind in (MAC_IP, IP_PREFIX)
        value = key[1:9] + payload[:10] + key[9:] + payload[10:] if segment_inside else key[1:] + payload
        return bytes((kind, len(value))) + value

    def join_many(self, shape: int, keys: Sequence[bytes], payloads: Sequence[bytes]) -> list[bytes]:
        """Many NLRI as announced."""
        join = self.join
        return [join(shape, key, payload) for key, payload in zip(keys, payloads, strict=True)]

    def join_withdrawn(self, shape: int, key: bytes) -> bytes:
        """One NLRI as withdrawn; ESI, gateway, label and flags, which a receiver ignores, are zero."""
        return self.join(shape, key, bytes(_payload_size(key)))

    def decode(self, shape: int, key: bytes, payload: bytes) -> EvpnRoute:
        """The route as a value."""
        del shape
        match key[0]:
            case 1:
                return EthernetAutoDiscovery.of(key, payload)
            case 2:
                return MacIpAdvertisement.of(key, payload)
            case 3:
                return InclusiveMulticast.of(key, payload)
            case 4:
                return EthernetSegment.of(key, payload)
            case 5:
                return IpPrefix.of(key, payload)
            case _:
                return OpaqueEvpnRoute.of(key, payload)

    def encode(self, nlri: EvpnRoute) -> tuple[int, bytes, bytes]:
        """Shape, key and payload of a route. Raises LocalMisuse for an opaque value that its type cannot have."""
        if isinstance(nlri, OpaqueEvpnRoute):
            return 0, *nlri.parts(_MULTICAST_TAILS.get(nlri.kind, (0, 0))[0])
        return 0, nlri.key, nlri.payload

    def route_distinguisher(self, shape: int, key: bytes) -> bytes | None:
        """The 8 octets of the route distinguisher; None for an unknown route type, which may begin otherwise."""
        del shape
        return key[1:9] if 0 < key[0] <= _KNOWN_KINDS else None


def _alike(data: bytes) -> tuple[list[bytes], bytes] | None:
    """The keys and the one payload of a field of right routes of type 2 that have all in common but tag, MAC and IP:
    what there is of one instance at one neighbour. Of other fields None.
    """
    length = data[1] if len(data) > 1 else 0
    form = _MAC_IP_FORMS.get(length)
    if form is None or data[0] != MAC_IP:
        return None
    ip_bits, end = form
    end += 2
    size = length + 2
    if len(data) == size:
        if data[24] != _MAC_BITS or data[31] != ip_bits:
            return None
        return [b"\x02" + data[2:10] + data[20:end]], data[10:20] + data[end:]
    number, left = divmod(len(data), size)
    if left or data[24::size] != b"\x30" * number or data[31::size] != bytes((ip_bits,)) * number:
        return None
    # What one begins with follows what the one before it ends with; pieces of the right size are where they should be.
    tail = data[end:size]
    pieces = data[20 : end - size].split(tail + data[:20])
    if len(pieces) != number or set(map(len, pieces)) != {end - 20}:
        return None
    lead = b"\x02" + data[2:10]
    return [lead + piece for piece in pieces], data[10:20] + tail


def _walk(data: bytes) -> list[tuple[int, bytes]]:
    routes = []
    size = len(data)
    position = 0
    while position < size:
        start = position + 2
        if start > size:
            raise _fault("a route is cut short after its type")
        following = start + data[position + 1]
        if following > size:
            raise _fault(f"{following - size} bytes missing")
        routes.append((data[position], data[start:following]))
        position = following
    return routes


def _parts(kind: int, value: bytes, *, withdrawn: bool = False) -> _Parts | None:
    """Key and payload of one value; None if no acceptable route has such a key."""
    lead = bytes((kind,))
    if kind == ETHERNET_AUTO_DISCOVERY:
        parts = (lead + value[:22], value[22:]) if len(value) >= 22 else None
        return _tail_checked(kind, parts, 0, (3,), withdrawn)
    if kind == MAC_IP:
        return _tail_checked(kind, _mac_ip(value), 10, _LABEL_FIELDS, withdrawn)
    if kind in (INCLUSIVE_MULTICAST, ETHERNET_SEGMENT):
        at = 12 if kind == INCLUSIVE_MULTICAST else 18
        if len(value) <= at or not value[at] or len(value) != at + 1 + _IP_OCTETS.get(value[at], 256):
            return None
        return lead + value, b""
    if kind == IP_PREFIX:
        return _ip_prefix(value)
    if kind in _MULTICAST_TAILS:
        tail, shortest = _MULTICAST_TAILS[kind]
        return (lead + value[:-tail], value[-tail:]) if len(value) >= shortest else None
    return lead + value, b""


def _tail_checked(
    kind: int, parts: _Parts | None, before: int, sizes: tuple[int, ...], withdrawn: bool
) -> _Parts | None:
    """The label fields, after ``before`` octets of payload, are of one of ``sizes``, unless the route is withdrawn."""
    if parts is not None and not withdrawn and len(parts[1]) - before not in sizes:
        raise _fault(f"type {kind} with {len(parts[1]) - before} octets of label fields")
    return parts


def _mac_ip(value: bytes) -> _Parts | None:
    if len(value) < 30 or value[22] != _MAC_BITS:
        return None
    end = 30 + _IP_OCTETS.get(value[29], 256)
    if len(value) < end:
        return None
    return b"\x02" + value[:8] + value[18:end], value[8:18] + value[end:]


def _ip_prefix(value: bytes) -> _Parts | None:
    """RFC 9136 section 3.1: 34 octets for IPv4, 58 for IPv6; the bits past the prefix length mean nothing."""
    octets = {34: 4, 58: 16}.get(len(value))
    if octets is None or value[22] > 8 * octets:
        return None
    end = 23 + octets
    padding = 8 * octets - value[22]
    prefix = (int.from_bytes(value[23:end]) >> padding << padding).to_bytes(octets)
    return b"\x05" + value[:8] + value[18:23] + prefix, value[8:18] + value[end:]


def _payload_size(key: bytes) -> int:
    """How many octets the payload of a withdrawn route has."""
    match key[0]:
        case 1:
            return 3
        case 2:
            return 13
        case 5:
            return 13 + len(key) - 14
        case kind:
            return _MULTICAST_TAILS.get(kind, (0, 0))[0]


def _fault(text: str) -> RemoteFault:
    return RemoteFault(f"{EVPN} NLRI: {text}", code=3, subcode=10)


EVPN_CODEC = EvpnCodec()
