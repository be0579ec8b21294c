"""OpenBGPD with ``fib-update no``, every neighbour a route-reflector client.

Version 7.7 keeps withdrawn VPN routes as valid and best: its withdraw figure is the failure of the cross-check.
"""

from __future__ import annotations

import json
from pathlib import Path

from bench import inputs
from bench.lab import PROGRAM_ADDRESS, Lab
from bench.programs.program import CounterFailed, Launch, ask, executable, first_line

_CONFIGURATION = """\
AS {asn}
router-id {address}
fib-update no
listen on {address}
socket "{directory}/control"
group "clients" {{
  remote-as {asn}
  local-address {address}
  route-reflector
  passive
  announce IPv4 none
  announce IPv4 vpn
{neighbors}
}}
allow from any
allow to any
"""


class Openbgpd:
    """``bgpd`` of OpenBSD: three processes, counted together."""

    dials = False
    honours_rtc = False
    pace = 0.0
    family = inputs.VPNV4

    def version(self) -> str:
        """The number after ``OpenBGPD``."""
        return first_line([executable("/usr/sbin/bgpd"), "-V"]).split()[-1]

    def launch(self, directory: Path, clients: list[str]) -> Launch:
        """Foreground, control socket in ``directory``."""
        directory.chmod(0o755)
        Path("/run/openbgpd").mkdir(exist_ok=True)  # its processes change root to it; systemd makes it otherwise
        neighbors = "\n".join(f"  neighbor {address}" for address in clients)
        configuration = directory / "bgpd.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                asn=inputs.LOCAL_AS, address=PROGRAM_ADDRESS, directory=directory, neighbors=neighbors
            )
        )
        configuration.chmod(0o600)
        return Launch([executable("/usr/sbin/bgpd"), "-d", "-f", str(configuration)], {})

    def routes(self, lab: Lab, directory: Path) -> int:
        """Prefixes of the neighbours, summed."""
        text = ask([executable("bgpctl"), "-j", "-s", str(directory / "control"), "show", "neighbor"])
        try:
            return sum(int(peer["stats"]["prefixes"]["received"]) for peer in json.loads(text)["neighbors"])
        except (ValueError, KeyError) as error:
            raise CounterFailed(f"bgpctl: {error!r} in {text[:200]!r}") from error
