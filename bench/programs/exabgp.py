"""ExaBGP that writes what it hears as JSON to a process of its own; it keeps no table, so it withdraws nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bench import inputs
from bench.evpn_inputs import EVPN
from bench.lab import PROGRAM_ADDRESS, SENDER_ADDRESS, Lab
from bench.programs.program import CounterFailed, Launch, executable, first_line, reference_binary

_CONFIGURATION = """\
process sink {{
  run {directory}/sink;
  encoder json;
}}
neighbor {client} {{
  router-id {address};
  local-address {address};
  local-as {asn};
  peer-as {asn};
  passive true;
  family {{ {family}; }}
  api {{ processes [ sink ]; receive {{ parsed; update; }} }}
}}
"""
# Its standard input does not block, so cat would end at once.
_SINK = """\
#!{python}
import os, select
with open("{directory}/json", "wb", buffering=0) as sink:
    while select.select([0], [], []) and (data := os.read(0, 1 << 20)):
        sink.write(data)
"""
_NAMES = {inputs.VPNV4: "ipv4 mpls-vpn", EVPN: "l2vpn evpn"}
_ROUTE = re.compile(rb'"rd": "')


class Exabgp:
    """``exabgp`` of the reference's virtual environment."""

    dials = False
    honours_rtc = False
    pace = 0.0

    def __init__(self, family: bytes = inputs.VPNV4) -> None:
        self.family = family

    def version(self) -> str:
        """The number after ``ExaBGP :``."""
        return first_line([reference_binary("exabgp"), "--version"]).split()[-1]

    def launch(self, directory: Path, clients: list[str]) -> Launch:
        """Foreground, JSON into a file in ``directory``."""
        directory.chmod(0o777)  # the sink runs as nobody
        sink = directory / "sink"
        sink.write_text(_SINK.format(python=executable("python3"), directory=directory))
        sink.chmod(0o755)
        configuration = directory / "exabgp.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                directory=directory,
                asn=inputs.LOCAL_AS,
                address=PROGRAM_ADDRESS,
                client=SENDER_ADDRESS,
                family=_NAMES[self.family],
            )
        )
        settings = {
            "exabgp.tcp.bind": PROGRAM_ADDRESS,
            "exabgp.daemon.user": "root",
            "exabgp.daemon.drop": "false",
            "exabgp.log.level": "CRIT",
            "exabgp.log.destination": "stdout",
            "exabgp.api.cli": "false",
            "exabgp.api.ack": "false",
        }
        environment = {"PATH": f"{Path(reference_binary('exabgp')).parent}:{os.environ['PATH']}"}
        argv = ["env", *(f"{name}={value}" for name, value in settings.items())]
        return Launch([*argv, reference_binary("exabgp"), str(configuration)], environment)

    def routes(self, lab: Lab, directory: Path) -> int:
        """Routes in the JSON that are announced, less those withdrawn."""
        announced = withdrawn = 0
        try:
            with (directory / "json").open("rb") as lines:
                for line in lines:
                    before, found, after = line.partition(b'"withdraw": {')
                    announced += len(_ROUTE.findall(before))
                    withdrawn += len(_ROUTE.findall(after)) if found else 0
        except OSError as error:
            raise CounterFailed(str(error)) from error
        return announced - withdrawn
