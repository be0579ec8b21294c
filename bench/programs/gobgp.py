"""GoBGP, every neighbour a route-reflector client; nothing is given to a forwarding plane."""

from __future__ import annotations

import json
from pathlib import Path

from bench import inputs
from bench.evpn_inputs import EVPN
from bench.lab import PROGRAM_ADDRESS, Lab
from bench.programs.program import CounterFailed, Launch, ask, executable, first_line

_GLOBAL = """\
[global.config]
as = {asn}
router-id = "{address}"
local-address-list = ["{address}"]
"""
_NEIGHBOR = """\
[[neighbors]]
[neighbors.config]
neighbor-address = "{client}"
peer-as = {asn}
[neighbors.transport.config]
passive-mode = true
[neighbors.route-reflector.config]
route-reflector-client = true
route-reflector-cluster-id = "{address}"
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "{family}"
"""
_RTC = """\
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "rtc"
"""


_NAMES = {inputs.VPNV4: ("l3vpn-ipv4-unicast", "vpnv4"), EVPN: ("l2vpn-evpn", "evpn")}


class Gobgp:
    """``gobgpd``."""

    dials = False
    honours_rtc = True
    pace = 0.0

    def __init__(self, family: bytes = inputs.VPNV4) -> None:
        self.family = family

    def version(self) -> str:
        """The number after ``gobgpd version``."""
        return first_line([executable("gobgpd"), "--version"]).split()[-1]

    def launch(self, directory: Path, clients: list[str]) -> Launch:
        """Foreground, log of warnings alone, API on the loopback of its namespace."""
        parts = [_GLOBAL.format(asn=inputs.LOCAL_AS, address=PROGRAM_ADDRESS)]
        family, _ = _NAMES[self.family]
        parts += [
            _NEIGHBOR.format(asn=inputs.LOCAL_AS, address=PROGRAM_ADDRESS, client=client, family=family) + _RTC
            for client in clients
        ]
        configuration = directory / "gobgpd.conf"
        configuration.write_text("".join(parts))
        argv = [executable("gobgpd"), "-f", str(configuration), "-l", "warn", "--api-hosts", "127.0.0.1:50051"]
        return Launch([*argv, "--pprof-disable"], {})

    def routes(self, lab: Lab, directory: Path) -> int:
        """Paths in the global table of the family."""
        text = ask(lab.command([executable("gobgp"), "-j", "global", "rib", "summary", "-a", _NAMES[self.family][1]]))
        try:
            return int(json.loads(text).get("num_path", 0))
        except (ValueError, KeyError) as error:
            raise CounterFailed(f"gobgp: {error!r} in {text[:200]!r}") from error
