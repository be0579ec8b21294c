"""``bagpipe-bgp`` for receiving, which keeps all routes (``retain_routes = always``), and ``bagpipe-fakerr``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from bench import inputs
from bench.lab import PROGRAM_ADDRESS, SENDER_ADDRESS, Lab
from bench.programs.http import fetch
from bench.programs.program import CounterFailed, Launch, Unavailable

_PORT = 8082
_ROOT = Path(__file__).parent.parent.parent
_CONFIGURATION = """\
[BGP]
local_address = {address}
peers = {client}
my_as = {asn}
retain_routes = {retain}
[API]
host = 127.0.0.1
port = {port}
[COMMON]
state_dir = {directory}/state
[DATAPLANE_DRIVER_EVPN]
dataplane_driver = dummy
[DATAPLANE_DRIVER_IPVPN]
dataplane_driver = {driver}
"""
_OPEN_VSWITCH = """\
mpls_interface = *gre*
ovsdb_connection = unix:{switch}/db.sock
ovs_run_directory = {switch}
"""


class _Ours:
    honours_rtc = True
    pace = 0.0

    def version(self) -> str:
        """The version of the package."""
        try:
            from bagpipe import __version__  # noqa: PLC0415
        except ImportError as error:
            raise Unavailable(str(error)) from error
        return __version__

    def routes(self, lab: Lab, directory: Path) -> int:
        """``received_routes_count`` of the looking glass."""
        text = fetch(lab, _PORT, "/looking-glass/summary")
        try:
            summary = json.loads(text)
            counts = summary.get("BGP", summary)["route_counts"]
            return int(counts["received_routes_count"])
        except (ValueError, KeyError, TypeError) as error:
            raise CounterFailed(f"looking glass: {error!r} in {text[:300]!r}") from error


class Speaker(_Ours):
    """``bagpipe-bgp``."""

    dials = True
    retain = "always"
    switch: Path | None = None

    def launch(self, directory: Path, clients: list[str]) -> Launch:
        """Foreground; it connects to the sender."""
        configuration = directory / "bgp.conf"
        text = _CONFIGURATION.format(
            asn=inputs.LOCAL_AS,
            address=PROGRAM_ADDRESS,
            client=SENDER_ADDRESS,
            port=_PORT,
            retain=self.retain,
            directory=directory,
            driver="dummy" if self.switch is None else "ovs",
        )
        configuration.write_text(text + ("" if self.switch is None else _OPEN_VSWITCH.format(switch=self.switch)))
        return _launch("bagpipe.daemon.main", ["--config-file", str(configuration)])


class Vrf(Speaker):
    """``bagpipe-bgp`` that keeps what its VRF imports."""

    retain = "auto"
    api_port = _PORT


class Reflector(_Ours):
    """``bagpipe-fakerr``."""

    dials = False

    def launch(self, directory: Path, clients: list[str]) -> Launch:
        """Foreground, any client of the veth's network."""
        arguments = ["--listen", PROGRAM_ADDRESS, "--as", str(inputs.LOCAL_AS), "--clients", "10.77.0.0/16"]
        return _launch("bagpipe.reflector.main", arguments)


def _launch(module: str, arguments: list[str]) -> Launch:
    paths = [str(_ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return Launch([sys.executable, "-m", module, *arguments], {"PYTHONPATH": os.pathsep.join(filter(None, paths))})
