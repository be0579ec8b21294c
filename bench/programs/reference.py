"""The reference daemon, networking-bagpipe 20.0.0, without VPN instances and with its log at warnings.

It loses its session when a message is split over two reads, so it is sent one message at a time, with a pause. It
can only dial, and has no reflector that keeps routes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from bench import inputs
from bench.lab import PROGRAM_ADDRESS, SENDER_ADDRESS, Lab
from bench.programs.http import fetch
from bench.programs.program import CounterFailed, Launch, ask, reference_binary

_CONFIGURATION = """\
[DEFAULT]
debug = false
log_config_append = {directory}/log.conf
[BGP]
local_address = {address}
peers = {client}
my_as = {asn}
enable_rtc = False
[API]
host = 127.0.0.1
port = 8082
[COMMON]
root_helper = env
[DATAPLANE_DRIVER_IPVPN]
dataplane_driver = {driver}
[DATAPLANE_DRIVER_EVPN]
dataplane_driver = dummy
{more}"""
_LOG = """\
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = WARNING
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain
[formatter_plain]
format = %(message)s
"""


class Reference:
    """``bagpipe-bgp`` of the reference's virtual environment."""

    dials = True
    honours_rtc = False
    pace = 4e-5

    api_port = 8082
    switch: Path | None = None

    def __init__(self, family: bytes = inputs.VPNV4) -> None:
        self.family = family

    def version(self) -> str:
        """What its virtual environment says of the distribution."""
        python = str(Path(reference_binary("bagpipe-bgp")).parent / "python")
        return ask(
            [python, "-c", "from importlib import metadata as m; print(m.version('networking-bagpipe'))"]
        ).strip()

    def launch(self, directory: Path, clients: list[str]) -> Launch:
        """Foreground, API on the loopback of its namespace."""
        (directory / "log.conf").write_text(_LOG)
        configuration = directory / "bgp.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                directory=directory,
                asn=inputs.LOCAL_AS,
                address=PROGRAM_ADDRESS,
                client=SENDER_ADDRESS,
                driver="dummy" if self.switch is None else "ovs\nmpls_interface = *gre*",
                more="" if self.switch is None else f"[OVS]\novsdb_connection = unix:{self.switch}/db.sock\n",
            )
        )
        program = reference_binary("bagpipe-bgp")
        environment: dict[str, str] = {}
        if self.switch is not None:
            # its helper lies beside it, and the programs of Open vSwitch that it runs find their sockets
            environment = {
                "OVS_RUNDIR": str(self.switch),
                "PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}",
            }
        return Launch([program, "--config-file", str(configuration)], environment)

    def routes(self, lab: Lab, directory: Path) -> int:
        """``received_routes_count`` of its looking glass."""
        text = fetch(lab, 8082, "/looking-glass/summary")
        try:
            return int(json.loads(text)["BGP"]["route_counts"]["received_routes_count"])
        except (ValueError, KeyError, TypeError):
            pass
        try:
            return int(json.loads(text)["route_counts"]["received_routes_count"])
        except (ValueError, KeyError, TypeError) as error:
            raise CounterFailed(f"looking glass: {error!r} in {text[:300]!r}") from error
