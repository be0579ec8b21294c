"""A machine moves to another compute host by the bindings of its port, as Nova does it, while it is pinged."""

from __future__ import annotations

import time

from bagpipe.lab.cloud_host import CloudHost, Vm
from bagpipe.lab.hosts import Host
from bagpipe.lab.scene import Scene
from bagpipe.lab.telling import wait_for
from bagpipe.lab.traffic import Stream

INTERVAL = 0.01
"""Seconds between two pings."""


def move(scene: Scene, vm: Vm, destination: CloudHost, pinged_from: Host) -> None:
    """Move a machine that is reached from ``pinged_from``, and wait until it is reached again. Raises LabFault."""
    tenant = scene.tenant
    source = tenant.place(vm)
    scene.tell(f"Nova gets a second binding of the port, for {destination.name}, and plugs it in there.")
    tenant.api.call("POST", f"ports/{vm.port_id}/bindings", {"binding": {"host": destination.name}})
    tenant.api.put(f"ports/{vm.port_id}", {"binding:profile": {"migrating_to": destination.name}}, "port")
    destination.cable(vm, "moved")
    destination.add_tap(vm)
    time.sleep(3)
    stream = Stream(pinged_from, vm.address(), INTERVAL)
    stream.first_reply()
    scene.note(f"it is still reached at {source.name}")
    scene.tell(f"The machine stops at {source.name}, starts at {destination.name}, and the binding there is activated.")
    stopped = time.time()
    vm.host.ip("link", "delete", vm.interface)
    vm.host.ip("link", "set", "moved", "down")
    vm.host.ip("link", "set", "moved", "name", vm.interface, "up")
    vm.start()
    tenant.api.call("PUT", f"ports/{vm.port_id}/bindings/{destination.name}/activate")
    source.unplug(vm)
    tenant.move(vm, destination)
    tenant.api.call("DELETE", f"ports/{vm.port_id}/bindings/{source.name}")
    wait_for(
        lambda: _first_after(stream, stopped) is not None,
        f"answers of {vm.host.name} at {destination.name}; the agents' logs are {source.host.directory}/..",
        0.05,
    )
    time.sleep(1)
    done = stream.end()
    seconds = (_first_after(stream, stopped) or stopped) - stopped
    scene.note(f"{done.said(INTERVAL)}; {seconds:.2f} s from the stop to the first answer")


def _first_after(stream: Stream, moment: float) -> float | None:
    return min((when for when, _ in stream.replies() if when > moment + 0.05), default=None)
