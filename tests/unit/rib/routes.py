"""Routes and UPDATE bodies for tests of the RIB, written by hand so that they share no code with what they test."""

from __future__ import annotations

from ipaddress import IPv4Address

FAMILY_VPNV4 = b"\x00\x01\x80"


def attribute(flags: int, code: int, value: bytes) -> bytes:
    """One path attribute with a one-octet or two-octet length as ``flags`` say."""
    size = len(value).to_bytes(2) if flags & 0x10 else bytes((len(value),))
    return bytes((flags, code)) + size + value


def route_target(number: int) -> bytes:
    """64512:number."""
    return b"\x00\x02\xfc\x00" + number.to_bytes(4)


def route_distinguisher(number: int) -> bytes:
    """64512:number."""
    return b"\x00\x00\xfc\x00" + number.to_bytes(4)


def nlri(prefix: str, label: int = 100, rd: int = 1) -> bytes:
    """One VPN-IPv4 NLRI with a prefix given as a.b.c.d/length."""
    address, _, length = prefix.partition("/")
    bits = int(length or 32)
    octets = IPv4Address(address).packed[: (bits + 7) // 8]
    return bytes((88 + bits,)) + (label << 4 | 1).to_bytes(3) + route_distinguisher(rd) + octets


def key(prefix: str, rd: int = 1) -> bytes:
    """The key of :func:`nlri`."""
    return nlri(prefix, 0, rd)[4:]


def common(
    *,
    local_pref: int | None = 100,
    as_path: bytes | None = b"",
    origin: int | None = 0,
    originator: str | None = None,
    clusters: tuple[str, ...] = (),
) -> bytes:
    """The attributes before MP_REACH_NLRI."""
    block = b""
    if origin is not None:
        block += attribute(0x40, 1, bytes((origin,)))
    if as_path is not None:
        block += attribute(0x40, 2, as_path)
    if local_pref is not None:
        block += attribute(0x40, 5, local_pref.to_bytes(4))
    if originator is not None:
        block += attribute(0x80, 9, IPv4Address(originator).packed)
    if clusters:
        block += attribute(0x80, 10, b"".join(IPv4Address(c).packed for c in clusters))
    return block


def reach(routes: bytes, next_hop: str = "192.0.2.1") -> bytes:
    """MP_REACH_NLRI of VPN-IPv4."""
    field = bytes(8) + IPv4Address(next_hop).packed
    return attribute(0x90, 14, FAMILY_VPNV4 + bytes((len(field),)) + field + b"\0" + routes)


def unreach(routes: bytes) -> bytes:
    """MP_UNREACH_NLRI of VPN-IPv4."""
    return attribute(0x90, 15, FAMILY_VPNV4 + routes)


def targets(*numbers: int) -> bytes:
    """EXTENDED_COMMUNITIES with route targets 64512:number."""
    return attribute(0xC0, 16, b"".join(route_target(number) for number in numbers)) if numbers else b""


def body(*attributes: bytes) -> bytes:
    """An UPDATE body."""
    joined = b"".join(attributes)
    return b"\0\0" + len(joined).to_bytes(2) + joined


def announcement(*prefixes: str, rt: tuple[int, ...] = (1,), label: int = 100, rd: int = 1, **rest: object) -> bytes:
    """An UPDATE body that announces VPN-IPv4 prefixes."""
    next_hop = str(rest.pop("next_hop", "192.0.2.1"))
    routes = b"".join(nlri(prefix, label, rd) for prefix in prefixes)
    return body(common(**rest), reach(routes, next_hop), targets(*rt))  # type: ignore[arg-type]


def withdrawal(*prefixes: str, rd: int = 1) -> bytes:
    """An UPDATE body that withdraws VPN-IPv4 prefixes."""
    return body(unreach(b"".join(nlri(prefix, 0x80000, rd) for prefix in prefixes)))
