"""``bagpipe-bgp-cleanup``: remove from the dataplane all that bagpipe-bgp has put there, and end.

For a node that is taken out of service, or whose daemon is not to be started again. It reads the same ``bgp.conf`` and
options as the daemon, which has to be stopped before: it would put everything back.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence

from bagpipe.daemon.configuration import load
from bagpipe.daemon.dataplane_choice import evpn_dataplane, ipvpn_dataplane
from bagpipe.daemon.start_error import StartError
from bagpipe.dataplane.driver import Dataplane, DriverEvent, Gone, Ready
from bagpipe.dataplane.errors import DataplaneError
from bagpipe.errors import LocalMisuse

PROGRAM = "bagpipe-bgp-cleanup"
PATIENCE = 10.0
"""Seconds to wait for a dataplane that cannot be reached, and then for it to remove what is there."""


async def clean(driver: Dataplane, patience: float) -> int:
    """Reset the dataplane; how many things were removed. Raises DataplaneError if it cannot be reached or refuses."""
    reachable = asyncio.Event()
    why = "no answer"

    def heard(event: DriverEvent) -> None:
        nonlocal why
        if isinstance(event, Ready):
            reachable.set()
        elif isinstance(event, Gone):
            why = event.why

    await driver.start(heard)
    try:
        try:
            await asyncio.wait_for(reachable.wait(), patience)
            return await asyncio.wait_for(driver.reset(), patience)
        except TimeoutError as error:
            raise DataplaneError(why) from error
    finally:
        with contextlib.suppress(DataplaneError):
            await driver.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Say in one line what was done. The exit status is 0, or 1 when it could not be done."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        configuration = load(arguments)
        configuration.setup_logs()
        drivers = {"IP VPN": ipvpn_dataplane(configuration.ipvpn), "EVPN": evpn_dataplane(configuration.evpn)}
    except (StartError, LocalMisuse) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    status = 0
    for kind, driver in drivers.items():
        name = driver.capabilities.name
        try:
            number = asyncio.run(clean(driver, PATIENCE))
        except (LocalMisuse, DataplaneError) as error:
            print(f"{PROGRAM}: {kind} dataplane {name}: {error}", file=sys.stderr)
            status = 1
        else:
            print(f"{PROGRAM}: {kind} dataplane {name}: {number} things removed")
    return status


if __name__ == "__main__":
    sys.exit(main())
