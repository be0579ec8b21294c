"""Values of request bodies turned from JSON into values of the house; each raises LocalMisuse that names the field.

Nothing here knows which request a field belongs to. A string of digits is a number where networking-bagpipe's agents
may send one, and a list may be a comma-separated string.
"""

from __future__ import annotations

import contextlib
import json
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network

from bagpipe.dataplane.model import Address, Classifier, Ports, Prefix
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress, RouteTarget

LONGEST_TEXT = 255
DEEPEST = 64
"""Levels of lists and objects in a body."""
LAST_OPENFLOW_PORT = 0xFFFFFEFF
"""OFPP_MAX less one: what lies above is reserved."""
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
_WITH_PORTS = (6, 17, 132)
_INTERFACE = IPv4Interface | IPv6Interface


def text(value: object, field: str) -> str:
    """A name: 1 to 255 characters, none of them a control character."""
    if not isinstance(value, str):
        raise LocalMisuse(field, value, "not a string")
    if not 1 <= len(value) <= LONGEST_TEXT or not value.isprintable():
        raise LocalMisuse(field, value, f"not 1 to {LONGEST_TEXT} printable characters")
    return value


def mac_or_address(value: object, field: str) -> MacAddress | Address:
    """A MAC address, or an IPv4 or IPv6 address."""
    if isinstance(value, str):
        with contextlib.suppress(LocalMisuse):
            return MacAddress.from_text(value)
    try:
        return address(value, field)
    except LocalMisuse as error:
        raise LocalMisuse(field, value, "neither a MAC address nor an IP address") from error


def integer(value: object, field: str, low: int, high: int) -> int:
    """A whole number of ``low`` to ``high``, or its decimal digits as a string."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise LocalMisuse(field, value, f"not a whole number of {low} to {high}")
    return value


def boolean(value: object, field: str) -> bool:
    """true or false; null, 0 and 1 are understood."""
    if value is None:
        return False
    if isinstance(value, bool) or (isinstance(value, int) and value in {0, 1}):
        return bool(value)
    raise LocalMisuse(field, value, "neither true nor false")


def mapping(value: object, field: str) -> dict[str, object]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise LocalMisuse(field, value, "not an object")
    return value


def items(value: object, field: str) -> list[object]:
    """A JSON list, or a string whose parts are parted by commas."""
    if isinstance(value, str):
        return [part for part in (part.strip() for part in value.split(",")) if part]
    if isinstance(value, list):
        return value
    raise LocalMisuse(field, value, "neither a list nor a string with commas")


def mac(value: object, field: str) -> MacAddress:
    """A MAC address in any of the usual forms."""
    if not isinstance(value, str):
        raise LocalMisuse(field, value, "not a MAC address")
    return MacAddress.from_text(value, field)


def _scoped(value: object) -> bool:
    return not isinstance(value, str) or "%" in value


def interface(value: object, field: str) -> _INTERFACE:
    """An address with the length of its network: ``10.0.0.2/24``; without one it is a host: /32 or /128."""
    try:
        if _scoped(value):
            raise ValueError
        return ip_interface(str(value))
    except ValueError as error:
        raise LocalMisuse(field, value, "not an IPv4 or IPv6 address, with or without a prefix length") from error


def address(value: object, field: str) -> Address:
    """An IPv4 or IPv6 address."""
    try:
        if _scoped(value):
            raise ValueError
        return ip_address(str(value))
    except ValueError as error:
        raise LocalMisuse(field, value, "not an IPv4 or IPv6 address") from error


def prefix(value: object, field: str) -> Prefix:
    """An IPv4 or IPv6 prefix; bits after its length are taken for zero."""
    try:
        if _scoped(value):
            raise ValueError
        return Prefix.of(ip_network(str(value), strict=False))
    except ValueError as error:
        raise LocalMisuse(field, value, "not an IPv4 or IPv6 prefix") from error


def route_targets(value: object, field: str) -> frozenset[RouteTarget]:
    """Route targets of any of the three kinds."""
    found = set()
    for item in items(value, field):
        if not isinstance(item, str):
            raise LocalMisuse(field, item, "not a route target")
        found.add(RouteTarget.from_text(item, field))
    return frozenset(found)


def prefixes(value: object, field: str) -> tuple[Prefix, ...]:
    """Prefixes, each once, in their order."""
    return tuple(dict.fromkeys(prefix(item, field) for item in items(value, field)))


def ports(value: object, field: str) -> Ports:
    """``80``, ``"80"`` or ``"80:90"``."""
    low, colon, high = str(value).partition(":")
    try:
        first = integer(low if isinstance(value, str) else value, field, 0, 65535)
        last = integer(high, field, 0, 65535) if colon else first
    except LocalMisuse as error:
        raise LocalMisuse(field, value, "not a port of 0 to 65535, nor two with a colon") from error
    if last < first:
        raise LocalMisuse(field, value, "the range ends before it begins")
    return Ports(first, last)


def protocol(value: object, field: str) -> int:
    """An IP protocol: its number, or the name of one that has ports, or of ICMP."""
    if isinstance(value, str) and value.lower() in _PROTOCOLS:
        return _PROTOCOLS[value.lower()]
    try:
        return integer(value, field, 0, 255)
    except LocalMisuse as error:
        raise LocalMisuse(field, value, f"not 0 to 255 nor one of {', '.join(_PROTOCOLS)}") from error


def classifier(value: object, field: str, names: dict[str, str]) -> Classifier:
    """Which packets are meant. ``names`` says how the fields of a Classifier are called in this body."""
    given = mapping(value, field)
    values = {own: given.get(name) for own, name in names.items()}
    paths = {own: f"{field}.{name}" for own, name in names.items()}
    source = None if values["source"] is None else prefix(values["source"], paths["source"])
    destination = None if values["destination"] is None else prefix(values["destination"], paths["destination"])
    if source is not None and destination is not None and source.version != destination.version:
        raise LocalMisuse(paths["destination"], values["destination"], f"not of the IP version of {source}")
    number = None if values["protocol"] is None else protocol(values["protocol"], paths["protocol"])
    from_ports, to_ports = (
        None if values[own] is None else ports(values[own], paths[own]) for own in ("source_ports", "destination_ports")
    )
    if (from_ports or to_ports) and number not in _WITH_PORTS:
        raise LocalMisuse(paths["protocol"], values["protocol"], "ports need tcp, udp or sctp")
    version = next((one.version for one in (source, destination) if one is not None), 4)
    return Classifier(version, source, destination, number, from_ports, to_ports)


def json_value(value: object, field: str) -> object:
    """Any JSON value that can be written again: no NaN, no infinity, no half of a surrogate pair, not too deep."""
    if _is_deeper(value, DEEPEST):
        raise LocalMisuse(field, None, f"nested more than {DEEPEST} deep")
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise LocalMisuse(field, None, "cannot be written as JSON") from error
    return value


def _is_deeper(value: object, levels: int) -> bool:
    """Whether lists and objects are nested more than ``levels`` deep; without recursion."""
    level = [value]
    for _ in range(levels + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)
