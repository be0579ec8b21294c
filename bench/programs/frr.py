"""FRR's bgpd alone: no zebra (``-Z``), no kernel (``-n``), every neighbour a route-reflector client."""

from __future__ import annotations

import json
from pathlib import Path

from bench import inputs
from bench.lab import PROGRAM_ADDRESS, Lab
from bench.programs.program import CounterFailed, Launch, ask, executable, first_line

_CONFIGURATION = """\
router bgp {asn}
 bgp router-id {address}
 no bgp default ipv4-unicast
 neighbor C peer-group
 neighbor C remote-as {asn}
 neighbor C passive
{neighbors}
 address-family ipv4 vpn
  neighbor C activate
  neighbor C route-reflector-client
 exit-address-family
"""


class Frr:
    """``bgpd`` of FRR."""

    dials = False
    honours_rtc = False
    pace = 0.0

    def version(self) -> str:
        """The number after ``bgpd version``."""
        return first_line([executable("/usr/lib/frr/bgpd"), "--version"]).split()[-1]

    def launch(self, directory: Path, clients: list[str]) -> Launch:
        """Foreground, run as root, vty on a socket in ``directory`` alone."""
        directory.chmod(0o755)
        neighbors = "\n".join(f" neighbor {address} peer-group C" for address in clients)
        configuration = directory / "bgpd.conf"
        configuration.write_text(
            _CONFIGURATION.format(asn=inputs.LOCAL_AS, address=PROGRAM_ADDRESS, neighbors=neighbors)
        )
        argv = [executable("/usr/lib/frr/bgpd"), "-Z", "-n", "-S", "-f", str(configuration), "-P", "0"]
        argv += ["-l", PROGRAM_ADDRESS, "-i", str(directory / "pid"), "--vty_socket", str(directory)]
        return Launch(argv, {})

    def routes(self, lab: Lab, directory: Path) -> int:
        """``pfxRcd`` of the neighbours, summed."""
        command = [executable("vtysh"), "--vty_socket", str(directory), "-d", "bgpd"]
        text = ask([*command, "-c", "show bgp ipv4 vpn summary json"])
        try:
            peers = json.loads(text)["peers"]
            return sum(int(peer["pfxRcd"]) for peer in peers.values())
        except (ValueError, KeyError) as error:
            raise CounterFailed(f"vtysh: {error!r} in {text[:200]!r}") from error
