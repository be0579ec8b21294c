"""BIRD with one ``vpn4 mpls`` channel to each neighbour, every neighbour a route-reflector client."""

from __future__ import annotations

import re
from pathlib import Path

from bench import inputs
from bench.lab import PROGRAM_ADDRESS, Lab
from bench.programs.program import CounterFailed, Launch, ask, executable, first_line

_CONFIGURATION = """\
router id {address};
vpn4 table v4;
ipv4 table base4;
protocol device {{ }}
template bgp observed {{
  local {address} as {asn};
  passive;
  rr client;
  rr cluster id {address};
  multihop;
  vpn4 mpls {{ table v4; import all; export all; next hop keep; gateway recursive; igp table base4; }};
}}
protocol static {{ ipv4 {{ table base4; }}; route 0.0.0.0/0 via "near"; }}
{neighbors}
"""


class Bird:
    """``bird``."""

    dials = False
    honours_rtc = False
    pace = 0.0
    family = inputs.VPNV4

    def version(self) -> str:
        """The number after ``BIRD version``."""
        return first_line([executable("bird"), "--version"]).split()[-1]

    def launch(self, directory: Path, clients: list[str]) -> Launch:
        """Foreground, control socket in ``directory``."""
        neighbors = "\n".join(
            f"protocol bgp c{i} from observed {{ neighbor {address} as {inputs.LOCAL_AS}; }}"
            for i, address in enumerate(clients)
        )
        configuration = directory / "bird.conf"
        configuration.write_text(
            _CONFIGURATION.format(asn=inputs.LOCAL_AS, address=PROGRAM_ADDRESS, neighbors=neighbors)
        )
        return Launch([executable("bird"), "-f", "-c", str(configuration), "-s", str(directory / "control")], {})

    def routes(self, lab: Lab, directory: Path) -> int:
        """Routes in the VPNv4 table."""
        text = ask([executable("birdc"), "-s", str(directory / "control"), "show route table v4 count"])
        found = re.search(r"(\d+) of \d+ routes", text)
        if found is None:
            raise CounterFailed(f"birdc: {text[:200]!r}")
        return int(found.group(1))
