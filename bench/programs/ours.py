"""``bagpipe-bgp`` for receiving, which keeps all routes (``retain_routes = always``), and ``bagpipe-fakerr``."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from bench import inputs
from bench.evpn_inputs import EVPN
from bench.lab import PROGRAM_ADDRESS, SENDER_ADDRESS, Lab
from bench.programs.http import fetch, post
from bench.programs.program import CounterFailed, Launch, Unavailable

PORT = "tap1"
_PORT = 8082
_INSTANCE = "bench"
_VNI = 5000
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
dataplane_driver = {evpn_driver}
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

    def __init__(self, family: bytes = inputs.VPNV4) -> None:
        self.family = family

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
    evpn_driver = "dummy"
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
            evpn_driver=self.evpn_driver,
        )
        configuration.write_text(text + ("" if self.switch is None else _OPEN_VSWITCH.format(switch=self.switch)))
        return _launch("bagpipe.daemon.main", ["--config-file", str(configuration)])


class Vrf(Speaker):
    """``bagpipe-bgp`` that keeps what its VRF imports."""

    retain = "auto"
    api_port = _PORT


class Evi(Speaker):
    """``bagpipe-bgp`` with an EVPN instance on the dataplane ``driver``: ``dummy``, ``linux`` or ``ovs``; the last two
    with a port ``PORT``.
    """

    retain = "auto"

    def __init__(self, driver: str = "dummy", options: str = "") -> None:
        super().__init__(EVPN)
        self.evpn_driver = f"{driver}\n{options}"

    def beside(self, lab: Lab) -> AbstractContextManager[None]:
        """Nothing is needed."""
        return nullcontext()

    def join(self, lab: Lab, directory: Path, targets: int) -> None:
        """Attach a machine to an instance."""
        body = {
            "vpn_instance_id": _INSTANCE,
            "vpn_type": "evpn",
            "mac_address": "02:00:00:00:00:01",
            "ip_address": "10.0.0.1/32",
            "local_port": {"linuxif": PORT, "ovs": {"plugged": True, "port_name": PORT}},
            "vni": _VNI,
            "import_rt": [f"{inputs.LOCAL_AS}:{target}" for target in range(1, targets + 1)],
            "export_rt": [],
        }
        post(lab, _PORT, "/attach_localport", body)

    def imported(self, lab: Lab, directory: Path) -> int:
        """The MAC addresses that the looking glass counts, but for the machine's."""
        text = fetch(lab, _PORT, f"/looking-glass/vpns/instances/{_INSTANCE}")
        try:
            return int(json.loads(text)["counts"]["macs"]) - 1
        except (ValueError, KeyError, TypeError) as error:
            raise CounterFailed(f"looking glass: {error!r} in {text[:300]!r}") from error


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
