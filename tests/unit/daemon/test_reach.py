"""Addresses and ranges."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import SimpleNamespace
from typing import Any, cast

from bagpipe.daemon.reach import ClientRange, canonical, covering
from bagpipe.daemon.socket_options import Protection
from bagpipe.daemon.tcp import RefusalLog


def client_range(prefix: str) -> ClientRange:
    return ClientRange(ip_network(prefix), Protection(), cast(Any, SimpleNamespace()))


def test_one_host_has_one_canonical_address() -> None:
    assert canonical("192.0.2.1") == IPv4Address("192.0.2.1")
    assert canonical("::ffff:192.0.2.1") == IPv4Address("192.0.2.1")
    assert canonical("FE80::0001%eth0") == IPv6Address("fe80::1")
    assert canonical("rr1.example.net") is None


def test_the_most_specific_range_covers_an_address() -> None:
    ranges = [client_range(text) for text in ("0.0.0.0/0", "192.0.2.0/24", "192.0.2.128/25", "2001:db8::/32")]
    found = [covering(ranges, ip_address(text)) for text in ("192.0.2.200", "192.0.2.1", "10.0.0.1", "2001:db8::1")]
    assert [str(entry.prefix) for entry in found if entry] == [
        "192.0.2.128/25",
        "192.0.2.0/24",
        "0.0.0.0/0",
        "2001:db8::/32",
    ]
    assert covering(ranges, ip_address("2001:db9::1")) is None
    assert covering([], ip_address("10.0.0.1")) is None


def test_refusals_are_logged_once_a_second_with_the_number_of_the_others(caplog: Any) -> None:
    caplog.set_level("INFO")
    log = RefusalLog()
    for moment in (0.0, 0.1, 0.9, 1.1):
        log.note(moment, "192.0.2.1", "why")
    assert [record.getMessage() for record in caplog.records] == [
        "connection from 192.0.2.1 refused: why",
        "connection from 192.0.2.1 refused: why (2 more before)",
    ]
