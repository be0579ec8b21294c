"""The MACs of next hops, resolved and kept true by a real kernel between two namespaces."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import ip_address

import pytest

from bagpipe.dataplane.ovs.neighbours import Neighbours
from bagpipe.identifiers import MacAddress
from tests.system.ovs_nodes import inside, ip

HERE, THERE = f"bovsn{os.getpid()}-here", f"bovsn{os.getpid()}-there"
FIRST, SECOND = "02:00:00:00:00:01", "02:00:00:00:00:02"
# The kernel's own times, shortened: reachable for a second, not for thirty.
TIMES = {
    "base_reachable_time_ms": 1000,
    "delay_first_probe_time": 1,
    "retrans_time_ms": 200,
    "ucast_solicit": 2,
    "mcast_solicit": 2,
}


def packed(address: str) -> bytes:
    return ip_address(address).packed


@pytest.fixture
def cable() -> Iterator[None]:
    """Two hosts on one cable, this one with the addresses ending in 1 and the other with those ending in 2."""
    for name in (HERE, THERE):
        ip("netns", "add", name)
    try:
        ip("link", "add", "wire", "netns", HERE, "type", "veth", "peer", "name", "wire", "netns", THERE)
        ip("-n", THERE, "link", "set", "wire", "address", FIRST)
        for number, name in enumerate((HERE, THERE), 1):
            settings = [f"net.ipv{version}.neigh.wire.{key}={to}" for version in (4, 6) for key, to in TIMES.items()]
            settings += ["net.ipv6.conf.wire.accept_dad=0", "net.ipv6.conf.wire.dad_transmits=0"]
            subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", *settings], check=True)
            ip("-n", name, "address", "add", f"192.0.2.{number}/24", "dev", "wire")
            ip("-n", name, "address", "add", f"2001:db8::{number}/64", "dev", "wire", "nodad")
            ip("-n", name, "link", "set", "wire", "up")
        yield
    finally:
        for name in (HERE, THERE):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


class Watched:
    """The neighbours under test, and what they told of."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str | None]] = []
        self.neighbours = Neighbours(changed=self._note)

    def _note(self, address: bytes) -> None:
        self.told.append((str(ip_address(address)), self.mac(str(ip_address(address)))))

    def mac(self, address: str) -> str | None:
        found = self.neighbours.mac(packed(address))
        return None if found is None else str(found)

    async def until(self, address: str, mac: str | None, seconds: float = 12) -> None:
        """Wait until the next hop has this MAC."""
        await self.until_true(lambda: self.mac(address) == mac, seconds)

    async def until_true(self, is_met: Callable[[], bool], seconds: float = 12) -> None:
        end = time.monotonic() + seconds
        while not is_met():
            assert time.monotonic() < end, f"not within {seconds} s; told: {self.told}"
            await asyncio.sleep(0.01)


def scenario(play: Callable[[Watched], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        watched = Watched()
        with inside(HERE):
            await watched.neighbours.start()
        try:
            await play(watched)
        finally:
            await watched.neighbours.close()

    asyncio.run(run())


@pytest.mark.parametrize("address", ["192.0.2.2", "2001:db8::2"])
def test_a_neighbour_is_resolved_by_the_first_question_and_nobody_else_asks(cable: None, address: str) -> None:
    async def play(watched: Watched) -> None:
        assert watched.mac(address) is None
        await watched.until(address, FIRST)
        assert watched.told == [(address, FIRST)]
        assert watched.neighbours.gateway(packed(address)) == packed(address)

    scenario(play)


def test_a_neighbour_that_the_kernel_knows_is_known_at_once(cable: None) -> None:
    ip("-n", HERE, "neigh", "replace", "192.0.2.2", "lladdr", SECOND, "dev", "wire", "nud", "permanent")

    async def play(watched: Watched) -> None:
        assert watched.neighbours.mac(packed("192.0.2.2")) == MacAddress.from_text(SECOND)
        ip("-n", HERE, "neigh", "replace", "192.0.2.2", "lladdr", FIRST, "dev", "wire", "nud", "permanent")
        await watched.until("192.0.2.2", FIRST)
        assert watched.told == [("192.0.2.2", FIRST)]

    scenario(play)


@pytest.mark.parametrize("address", ["192.0.2.2", "2001:db8::2"])
def test_a_mac_that_changes_without_a_word_is_noticed(cable: None, address: str) -> None:
    async def play(watched: Watched) -> None:
        watched.mac(address)
        await watched.until(address, FIRST)

        ip("-n", THERE, "link", "set", "wire", "address", SECOND)

        await watched.until(address, SECOND)
        assert watched.told == [(address, FIRST), (address, SECOND)]

    scenario(play)


def test_a_next_hop_behind_a_gateway_has_the_mac_of_the_gateway(cable: None) -> None:
    async def play(watched: Watched) -> None:
        far, far6, later = "198.51.100.7", "2001:db8:9::7", "203.0.113.7"
        ip("-n", HERE, "route", "add", "198.51.100.0/24", "via", "192.0.2.2")
        ip("-n", HERE, "-6", "route", "add", "2001:db8:9::/64", "via", "2001:db8::2")
        ip("-n", HERE, "route", "add", "203.0.113.0/24", "via", "inet6", "2001:db8::2", "dev", "wire")
        for address in (far, far6, later):
            watched.mac(address)
        for address in (far, far6, later):
            await watched.until(address, FIRST)
        assert watched.neighbours.gateway(packed(later)) == packed("2001:db8::2")

        ip("-n", HERE, "neigh", "replace", "192.0.2.9", "lladdr", SECOND, "dev", "wire", "nud", "permanent")
        ip("-n", HERE, "route", "replace", "198.51.100.0/24", "via", "192.0.2.9")
        await watched.until(far, SECOND)

        ip("-n", HERE, "route", "del", "198.51.100.0/24")
        await watched.until(far, None)
        assert [one for one in watched.told if one[0] == far] == [(far, FIRST), (far, SECOND), (far, None)]

    scenario(play)


def test_a_next_hop_without_a_route_is_found_once_it_has_one(cable: None) -> None:
    async def play(watched: Watched) -> None:
        assert watched.mac("198.51.100.7") is None
        assert watched.neighbours.gateway(packed("198.51.100.7")) is None
        ip("-n", HERE, "route", "add", "198.51.100.0/24", "via", "192.0.2.2")
        await watched.until("198.51.100.7", FIRST)

    scenario(play)


def test_who_does_not_answer_has_no_mac_until_there_is_somebody(cable: None) -> None:
    async def play(watched: Watched) -> None:
        assert watched.mac("192.0.2.9") is None
        await asyncio.sleep(1.5)
        assert watched.told == []
        assert watched.mac("192.0.2.9") is None

        ip("-n", THERE, "address", "add", "192.0.2.9/24", "dev", "wire")
        await watched.until("192.0.2.9", FIRST)
        assert watched.told == [("192.0.2.9", FIRST)]

    scenario(play)


def test_who_stops_answering_loses_its_mac_and_gets_it_back(cable: None) -> None:
    async def play(watched: Watched) -> None:
        watched.mac("192.0.2.2")
        await watched.until("192.0.2.2", FIRST)

        ip("-n", THERE, "address", "del", "192.0.2.2/24", "dev", "wire")
        await watched.until("192.0.2.2", None)

        ip("-n", THERE, "address", "add", "192.0.2.2/24", "dev", "wire")
        await watched.until("192.0.2.2", FIRST)
        assert watched.told == [("192.0.2.2", FIRST), ("192.0.2.2", None), ("192.0.2.2", FIRST)]

    scenario(play)


def test_a_flush_of_the_kernels_table_takes_no_mac_away(cable: None) -> None:
    async def play(watched: Watched) -> None:
        watched.mac("192.0.2.2")
        await watched.until("192.0.2.2", FIRST)
        for _ in range(3):
            ip("-n", HERE, "neigh", "flush", "dev", "wire")
            await asyncio.sleep(0.3)
        assert watched.told == [("192.0.2.2", FIRST)]
        assert FIRST in ip("-n", HERE, "neigh", "show", "192.0.2.2")

    scenario(play)


def test_an_interface_that_goes_takes_its_neighbours_along_and_brings_them_back(cable: None) -> None:
    async def play(watched: Watched) -> None:
        watched.mac("192.0.2.2")
        await watched.until("192.0.2.2", FIRST)
        ip("-n", HERE, "link", "set", "wire", "down")
        await watched.until("192.0.2.2", None)
        ip("-n", HERE, "link", "set", "wire", "up")
        await watched.until("192.0.2.2", FIRST)
        assert watched.told[1:] == [("192.0.2.2", None), ("192.0.2.2", FIRST)]

    scenario(play)


def test_what_is_forgotten_is_told_of_no_more(cable: None) -> None:
    async def play(watched: Watched) -> None:
        watched.mac("192.0.2.2")
        await watched.until("192.0.2.2", FIRST)
        watched.neighbours.forget(packed("192.0.2.2"))
        watched.neighbours.forget(packed("192.0.2.77"))
        ip("-n", HERE, "neigh", "replace", "192.0.2.2", "lladdr", SECOND, "dev", "wire", "nud", "permanent")
        await asyncio.sleep(0.3)
        assert watched.told == [("192.0.2.2", FIRST)]
        assert watched.neighbours.overview() == {}

    scenario(play)


def test_an_address_of_this_host_has_no_mac(cable: None) -> None:
    async def play(watched: Watched) -> None:
        assert watched.mac("192.0.2.1") is None
        assert watched.mac("127.0.0.1") is None
        await asyncio.sleep(0.2)
        assert watched.told == []
        assert watched.neighbours.overview() == {"127.0.0.1": None, "192.0.2.1": None}

    scenario(play)


def test_more_news_than_the_socket_holds_is_made_up_for(cable: None, caplog: pytest.LogCaptureFixture) -> None:
    """The loop is held up while neighbours come by the thousand, and one of them is the one that is waited for."""
    caplog.set_level(logging.INFO)

    async def play(watched: Watched) -> None:
        watched.mac("198.51.100.7")
        lines = [f"neigh replace 10.{n >> 8}.{n & 255}.1 lladdr {SECOND} dev wire nud permanent" for n in range(20000)]
        lines += [
            f"neigh replace 192.0.2.9 lladdr {SECOND} dev wire nud permanent",
            "route add 198.51.100.0/24 via 192.0.2.9",
        ]
        subprocess.run(["ip", "-n", HERE, "-batch", "-"], input="\n".join(lines), text=True, check=True)
        await watched.until("198.51.100.7", SECOND)
        assert watched.told == [("198.51.100.7", SECOND)]
        assert "the kernel had more news than the socket holds" in caplog.text

    scenario(play)
