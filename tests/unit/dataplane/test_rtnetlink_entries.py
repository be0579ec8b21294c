"""What the kernel says of a neighbour, on devices of any kind."""

from __future__ import annotations

import struct

import pytest

from bagpipe.dataplane.ovs.rtnetlink import entry_of

NOARP = 0x40
ADDRESS = bytes((192, 0, 2, 2))


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value.ljust(-(-len(value) // 4) * 4, b"\0")


def told(link_layer: bytes) -> bytes:
    """RTM_NEWNEIGH with NDA_DST and NDA_LLADDR."""
    body = struct.pack("=BxxxiHBB", 2, 5, NOARP, 0, 1) + attribute(1, ADDRESS) + attribute(2, link_layer)
    return struct.pack("=IHHII", 16 + len(body), 28, 0, 1, 0) + body


@pytest.mark.parametrize(
    ("link_layer", "mac"),
    [
        (b"\2\0\0\0\0\1", b"\2\0\0\0\0\1"),
        (bytes(6), None),
        (ADDRESS, None),  # a GRE tunnel over IPv4
        (bytes.fromhex("20010db8000100020000000000000001"), None),  # over IPv6, written 2001:db8:1:2::1
        (bytes(20), None),  # InfiniBand
    ],
    ids=["a MAC", "none yet", "an IPv4 address", "an IPv6 address", "something else"],
)
def test_only_a_mac_is_taken_for_a_mac(link_layer: bytes, mac: bytes | None) -> None:
    entry = entry_of(told(link_layer), False)
    assert entry is not None
    assert (entry.target.address, entry.state, entry.mac) == (ADDRESS, NOARP, mac)
