"""The reference daemon, networking-bagpipe 20.0.0, without VPN instances and with its log at warnings.

It loses its session when a message is split over two reads, so it is sent one message at a time, with a pause. It
can only dial, and has no reflector that keeps routes.
"""

from __future__ import annotations

import json
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
dataplane_driver = dummy
[DATAPLANE_DRIVER_EVPN]
dataplane_driver = dummy
"""
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
                directory=directory, asn=inputs.LOCAL_AS, address=PROGRAM_ADDRESS, client=SENDER_ADDRESS
            )
        )
        return Launch([reference_binary("bagpipe-bgp"), "--config-file", str(configuration)], {})

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
