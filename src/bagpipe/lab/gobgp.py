"""GoBGP on a host of the lab."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from bagpipe.lab.hosts import Host
from bagpipe.lab.programs import succeeds
from bagpipe.lab.telling import wait_for

_SPEAKER = """\
[global.config]
as = {my_as}
router-id = "{address}"
port = -1
[[neighbors]]
[neighbors.config]
neighbor-address = "{neighbor}"
peer-as = {my_as}
[neighbors.timers.config]
connect-retry = 2
idle-hold-time-after-reset = 2
{families}
"""


def start(host: Host, configuration: str) -> None:
    """Start ``gobgpd`` with this configuration (TOML). Raises LabFault."""
    file = host.directory / "gobgpd.toml"
    file.write_text(configuration)
    host.start("gobgpd", ["gobgpd", "-f", str(file), "--pprof-disable", "--log-plain"])


def families(owner: str, names: Iterable[str]) -> str:
    """The address families of ``owner``, which is ``neighbors`` or ``peer-groups``."""
    return "\n".join(f'[[{owner}.afi-safis]]\nconfig = {{ afi-safi-name = "{name}" }}' for name in names)


def speaker(address: str, neighbor: str, my_as: int, names: Iterable[str]) -> str:
    """The configuration of a speaker that calls one neighbour of its own AS, for these families."""
    return _SPEAKER.format(address=address, neighbor=neighbor, my_as=my_as, families=families("neighbors", names))


def announce(host: Host, route: str, next_hop: str) -> str:
    """Announce a route, family first, as soon as GoBGP takes it; the command. Raises LabFault."""
    command = f"gobgp global rib add -a {route} nexthop {next_hop}"
    wait_for(partial(succeeds, host, command.split()), command, 0.1)
    return command
