"""Whatever happens in whatever order, the Linux dataplane ends with what is desired and with nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator

import pytest

from bagpipe.dataplane.driver import Again
from bagpipe.dataplane.model import Bridge, BridgeKey, Key, PlugKey, Value
from tests.system.evpn_hosts import Driven, Host, Site, a_site, elsewhere, flood, mac_of, play, plug, remote

NODES = ("192.0.2.2", "192.0.2.3", "192.0.2.4")
NUMBERS = (1, 2)
PORTS = ("p1", "p2", "p3")


@pytest.fixture
def site() -> Iterator[Site]:
    with a_site() as made:
        yield made


def some_records(dice: random.Random, evi: int) -> dict[Key, Value]:
    """Records of one of the kinds that an instance has."""
    vni = 5000 + evi
    hops = [remote(node, vni if dice.random() < 0.8 else 7000) for node in dice.sample(NODES, dice.randint(1, 3))]
    mac = mac_of(dice.randint(1, 6))
    match dice.randint(0, 3):
        case 0:
            return {BridgeKey(evi): Bridge(f"evi{evi}", dice.choice((vni, vni + 10)), dice.choice((None, None, "brq")))}
        case 1:
            return plug(dice.choice(PORTS), dice.choice((mac, None)), evi)
        case 2:
            return elsewhere(mac, *hops, addresses=[f"10.0.0.{mac.packed[5]}", f"fd00::{mac.packed[5]}"], evi=evi)
    return flood(hops[0], evi=evi)


def interfere(dice: random.Random, host: Host) -> None:
    """Somebody else changes something, if it is there."""
    with contextlib.suppress(AssertionError, IndexError):
        links = [name for kind in ("bridge", "vxlan", "veth") for name in host.links(kind) if name != "wire0"]
        match dice.randint(0, 6):
            case 0:
                host.ip("link", "del", dice.choice(links))
            case 1:
                host.ip("link", "set", dice.choice(links), "nomaster")
            case 2:
                host.ip("link", "add", dice.choice(PORTS), "type", "veth", "peer", "name", f"x{dice.randint(0, 999)}")
            case 3:
                host.ip("link", "add", "brq", "up", "type", "bridge")
            case 4:
                host.ip("link", "set", dice.choice(PORTS), "master", "brq")
            case 5:
                entry = dice.choice(host.fdb(dice.choice(("self", "master")))).split()
                where = entry[entry.index("dst") : entry.index("dst") + 2] if "dst" in entry else []
                how = "self" if "self" in entry else "master"
                host.run("bridge", "fdb", "del", entry[0], "dev", entry[2], *where, how)
            case 6:
                host.ip("nexthop", "flush")


async def settle(at: Driven) -> None:
    """Wait until the dataplane has nothing more to say and all that can be in effect is."""
    while True:
        events = len(at.said)
        await asyncio.sleep(0.15)
        at.programmer.retry(list(at.tracker.refused))
        await at.until(lambda: not at.tracker.has_changes and not at.tracker.counts()["in_flight"], "it has settled")
        if len(at.said) == events:
            return


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_changes_of_ours_and_of_others_ends_in_what_is_desired(site: Site, seed: int) -> None:
    async def scene() -> None:
        dice = random.Random(seed)
        host = site.hosts[0]
        for _ in range(3):
            async with host.driven(sweeps=False) as at:
                for _ in range(25):
                    evi = dice.choice(NUMBERS)
                    if dice.random() < 0.3:
                        interfere(dice, host)
                    for key, value in some_records(dice, evi).items():
                        if dice.random() < 0.25:
                            at.tracker.remove(key)
                        else:
                            at.tracker.set(key, value)
                    at.programmer.wake()
                    if dice.random() < 0.3:
                        await asyncio.sleep(dice.random() * 0.1)
                await settle(at)
                at.programmer.sweep_when_ready()
                await at.until(lambda: at.programmer.swept, "leftovers are swept")
                await settle(at)
                refused = set(at.tracker.refused)
                found = [one for one in await at.driver.audit(at.tracker.desired) if one.key not in refused]
                assert found == []
                for key in refused:
                    assert await really_cannot(at, host, key), f"{key}: {at.tracker.refused[key].reason}"
                assert not any(isinstance(event, Again) for event in await quiet(at))

    play(scene())


async def quiet(at: Driven) -> list[object]:
    """What the driver says while nothing happens."""
    before = len(at.said)
    await asyncio.sleep(0.3)
    return list(at.said[before:])


async def really_cannot(at: Driven, host: Host, key: Key) -> bool:
    """Whether there is a reason outside the dataplane that a record is refused."""
    reason = at.tracker.refused[key].reason
    links = host.links("bridge") + host.links("veth") + host.links("vxlan")
    if isinstance(key, BridgeKey):
        return (
            ("brq does not exist" in reason and "brq" not in links)
            or "is in use by" in reason
            or "is that of" in reason
        )
    if isinstance(key, PlugKey) and "does not exist" in reason:
        return key.port.name not in links or "the bridge of its instance" in reason
    return "is not there" in reason or "not on" in reason or "does not exist" in reason or "somebody else" in reason
