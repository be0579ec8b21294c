"""The observer of the bench sees each entry and neighbour of the kernel, in its time."""

from __future__ import annotations

import subprocess
import time

from bench.kernel_observer import KernelObserver
from tests.system.evpn_hosts import a_site

ENTRIES = 5_000


def test_every_entry_is_seen_with_the_time_at_which_the_kernel_told_of_it() -> None:
    with a_site() as site:
        # given a VXLAN device in a bridge, with an entry that was there before
        host = site.hosts[0]
        host.ip("link", "add", "vx", "type", "vxlan", "id", "9", "local", host.addresses[0], "dstport", "4789")
        host.ip("link", "add", "br0", "type", "bridge")
        host.ip("link", "set", "vx", "master", "br0", "up")
        host.run("bridge", "fdb", "add", "02:00:00:00:00:01", "dev", "vx", "dst", "192.0.2.2")
        with KernelObserver(host.namespace) as observer:
            # when one entry is added, one that is local, a neighbour, and then many
            times = [time.perf_counter()]
            host.run("bridge", "fdb", "add", "02:00:00:00:00:02", "dev", "vx", "dst", "192.0.2.2")
            times.append(time.perf_counter())
            host.run("bridge", "fdb", "add", "02:00:00:00:00:03", "dev", "vx", "master", "static")
            host.ip("neigh", "add", "10.0.0.9", "lladdr", "02:00:00:00:00:02", "dev", "br0", "nud", "noarp")
            many = [f"fdb add 02:01:00:00:{n >> 8:02x}:{n & 255:02x} dev vx dst 192.0.2.3" for n in range(ENTRIES)]
            batch = ["ip", "netns", "exec", host.namespace, "bridge", "-batch", "-"]
            subprocess.run(batch, input="\n".join(many), text=True, check=True, timeout=30)
            heard = -1
            while observer.count() != heard:
                heard = observer.count()
                time.sleep(0.3)
            seen = observer.seen()
    # then each that leads to another node was seen once it was there, and the one before was not news
    first, neighbour = bytes.fromhex("020000000002"), bytes((10, 0, 0, 9))
    expected = {bytes((2, 1, 0, 0, number >> 8, number & 255)) for number in range(ENTRIES)}
    assert seen.keys() == expected | {first, neighbour}
    assert times[0] < seen[first] < min(seen[one] for one in expected)
    assert seen[first] < times[1] + 0.5
