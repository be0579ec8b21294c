"""FRR's bgpd alone: no zebra (``-Z``), no kernel (``-n``), every neighbour a route-reflector client.

To import MAC addresses bgpd has to be told of a VNI by zebra, which runs beside it and is not part of the figure: what
bgpd tells it of every route is.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import inputs, process
from bench.evpn_inputs import EDGES, EVPN
from bench.lab import PROGRAM_ADDRESS, SENDER_ADDRESS, Lab
from bench.programs.program import CounterFailed, Launch, Unavailable, ask, executable, first_line

_CONFIGURATION = """\
router bgp {asn}
 bgp router-id {address}
 no bgp default ipv4-unicast
 neighbor C peer-group
 neighbor C remote-as {asn}
 neighbor C passive
{neighbors}
 address-family {family}
  neighbor C activate
  neighbor C route-reflector-client
 exit-address-family
"""


VNI = 5000
_PATIENCE = 10.0
_NAMES = {inputs.VPNV4: "ipv4 vpn", EVPN: "l2vpn evpn"}


class Frr:
    """``bgpd`` of FRR."""

    dials = False
    honours_rtc = False
    pace = 0.0

    def __init__(self, family: bytes = inputs.VPNV4) -> None:
        self.family = family

    def version(self) -> str:
        """The number after ``bgpd version``."""
        return first_line([executable("/usr/lib/frr/bgpd"), "--version"]).split()[-1]

    def launch(self, directory: Path, clients: list[str]) -> Launch:
        """Foreground, run as root, vty on a socket in ``directory`` alone."""
        directory.chmod(0o755)
        neighbors = "\n".join(f" neighbor {address} peer-group C" for address in clients)
        configuration = directory / "bgpd.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                asn=inputs.LOCAL_AS, address=PROGRAM_ADDRESS, neighbors=neighbors, family=_NAMES[self.family]
            )
        )
        argv = [executable("/usr/lib/frr/bgpd"), "-Z", "-n", "-S", "-f", str(configuration), "-P", "0"]
        argv += ["-l", PROGRAM_ADDRESS, "-i", str(directory / "pid"), "--vty_socket", str(directory)]
        return Launch(argv, {})

    def routes(self, lab: Lab, directory: Path) -> int:
        """``pfxRcd`` of the neighbours, summed."""
        text = ask([*self._vtysh(directory), "-c", f"show bgp {_NAMES[self.family]} summary json"])
        try:
            peers = json.loads(text)["peers"]
            return sum(int(peer["pfxRcd"]) for peer in peers.values())
        except (ValueError, KeyError) as error:
            raise CounterFailed(f"vtysh: {error!r} in {text[:200]!r}") from error

    def _vtysh(self, directory: Path) -> list[str]:
        return [executable("vtysh"), "--vty_socket", str(directory), "-d", "bgpd"]


class FrrVtep(Frr):
    """``bgpd`` with a VNI, of which zebra tells it."""

    def __init__(self) -> None:
        super().__init__(EVPN)
        self._zebra: Path | None = None

    @contextmanager
    def beside(self, lab: Lab) -> Iterator[None]:
        """A bridge with a VXLAN device and a way to the provider edges at the program's end, and zebra."""
        ip = ["ip", "-n", lab.near]
        devices = [
            f"link add bench type vxlan id {VNI} local {PROGRAM_ADDRESS} dstport 4789 nolearning",
            "link add br-bench type bridge",
            "link set bench master br-bench up",
            "link set br-bench up",
            f"route add {EDGES} via {SENDER_ADDRESS}",
        ]
        with tempfile.TemporaryDirectory(prefix="bzebra-") as name, ExitStack() as held:
            self._zebra = Path(name)
            self._zebra.chmod(0o777)  # zebra runs as frr
            for what in ("link del bench", "link del br-bench", f"route del {EDGES}"):
                held.callback(subprocess.run, [*ip, *what.split()], check=False, capture_output=True)
            for line in devices:
                ask([*ip, *line.split()])
            (self._zebra / "zebra.conf").write_text("")
            argv = [executable("/usr/lib/frr/zebra"), "-f", f"{name}/zebra.conf", "-P", "0", "-z", f"{name}/api"]
            with (self._zebra / "output").open("wb") as output:
                zebra = subprocess.Popen(
                    lab.command([*argv, "-i", f"{name}/pid", "--vty_socket", name]),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            held.callback(process.end, zebra)
            deadline = time.monotonic() + _PATIENCE
            while not (self._zebra / "api").exists():
                if zebra.poll() is not None or time.monotonic() > deadline:
                    raise Unavailable(f"zebra does not start: {(self._zebra / 'output').read_text()[-300:]}")
                time.sleep(0.05)
            yield

    def launch(self, directory: Path, clients: list[str]) -> Launch:
        """As ever, but with zebra, and with all VNIs that it tells of."""
        launch = super().launch(directory, clients)
        configuration = directory / "bgpd.conf"
        vteps = configuration.read_text().replace(" exit-address-family", "  advertise-all-vni\n exit-address-family")
        configuration.write_text(vteps)
        argv = [word for word in launch.argv if word not in ("-Z", "-n")]
        return Launch([*argv, "-z", f"{self._zebra}/api"], launch.environment)

    def join(self, lab: Lab, directory: Path, targets: int) -> None:
        """Have the VNI import the route targets."""
        lines = [
            f"router bgp {inputs.LOCAL_AS}",
            "address-family l2vpn evpn",
            f"vni {VNI}",
            *(f"route-target import {inputs.LOCAL_AS}:{target}" for target in range(1, targets + 1)),
        ]
        said = directory / "join"
        said.write_text("\n".join(lines) + "\n")
        ask([*self._vtysh(directory), "-f", str(said)], timeout=60.0)

    def imported(self, lab: Lab, directory: Path) -> int:
        """Routes in the table of the VNI that came from others."""
        text = ask([*self._vtysh(directory), "-c", f"show bgp l2vpn evpn route vni {VNI} type 2 json"], timeout=120.0)
        try:
            return int(json.loads(text)["numPrefix"])
        except (ValueError, KeyError) as error:
            raise CounterFailed(f"vtysh: {error!r} in {text[-200:]!r}") from error
