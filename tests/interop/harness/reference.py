"""The daemon of networking-bagpipe 20.0.0 as a black box: ports attached over REST, by default dummy dataplanes.

It lives with ExaBGP 4.2 in a virtual environment of its own, `make reference`, since both need old companions.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Self

from .http import call
from .peer import AS, Peer
from .route import Family, Route

PORT = 8082
_KEYS = {
    Family.VPNV4: "ipv4/mpls-vpn,*",
    Family.EVPN: "l2vpn/evpn,*",
    Family.FLOWSPEC: "ipv4/flow-vpn,*",
    Family.RTC: "ipv4/rtc,*",
}


def reference_program(name: str) -> Path:
    """A program of the reference's virtual environment."""
    default = Path(__file__).parents[3] / ".venv-reference"
    path = Path(os.environ.get("BAGPIPE_REFERENCE_VENV") or default) / "bin" / name
    if not path.exists():
        raise FileNotFoundError(f"{path}: `make reference` installs it")
    return path


class Reference(Peer):
    """One reference daemon."""

    peers: tuple[str, ...] = ()
    evpn_driver: str = "dummy"

    def start(self) -> Self:
        """Start with the sessions that `peers` names."""
        path = self.write(
            "bgp.conf",
            f"[BGP]\nlocal_address={self.address}\npeers={','.join(self.peers)}\nmy_as={AS}\nenable_rtc=True\n"
            f"[API]\nhost=127.0.0.1\nport={PORT}\n"
            "[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver=dummy\n"
            f"[DATAPLANE_DRIVER_EVPN]\ndataplane_driver={self.evpn_driver}\n"
            f"[COMMON]\nroot_helper=env\n[privsep]\nhelper_command={reference_program('privsep-helper')}\n",
        )
        # It loads modules that may be part of the kernel, for which there is nothing to load.
        self.write("modprobe", "#!/bin/sh\n").chmod(0o700)
        program = reference_program("bagpipe-bgp")
        environment = {"PATH": os.pathsep.join([str(program.parent), str(self.directory), os.environ["PATH"]])}
        self.run(str(program), "--config-file", str(path), environment=environment)
        return self

    def attach(self, **fields: object) -> None:
        """`POST /attach_localport`."""
        call(self.host, PORT, "POST", "/attach_localport", fields)

    def detach(self, **fields: object) -> None:
        """`POST /detach_localport`."""
        call(self.host, PORT, "POST", "/detach_localport", fields)

    def glass(self, path: str) -> Any:
        """`GET /looking-glass/PATH`."""
        return call(self.host, PORT, "GET", f"/looking-glass/{path}")

    def established(self, neighbor: str) -> bool:
        """See `Peer.established`."""
        told = self.glass("bgp/peers")
        return any(entry["id"] == neighbor and entry["state"] == "Established" for entry in told)

    def _listed(self, family: Family) -> list[Route]:
        entries = self.glass("bgp/routes").get(_KEYS.get(family, ""), [])
        return [_route(text, body) for entry in entries for text, body in entry.items()]


_TEXTS = [
    (re.compile(r"^(?P<nlri>\S+) label (?P<label>\d+) .*rd (?P<rd>\S+)$"), "{nlri}"),
    (re.compile(r"^evpn:multicast::(?P<rd>[\d.]+:\d+):\d+:(?P<ip>\S+)$"), "multicast {ip}"),
    (
        re.compile(
            r"^evpn:macadv::(?P<rd>[\d.]+:\d+):.*:(?P<mac>(\w\w:){5}\w\w)/48:(?P<ip>[\d.]*): .*\((?P<label>\d+)\)$"
        ),
        "mac {mac} {ip}",
    ),
    (re.compile(r"^flow destination-ipv4 (?P<nlri>\S+) .*rd (?P<rd>\S+)$"), "{nlri}"),
    (re.compile(r"^rtc \d+:target:(?P<nlri>\S+)$"), "{nlri}"),
]


def _route(text: str, body: dict[str, Any]) -> Route:
    fields: dict[str, str] = {}
    nlri = text
    for pattern, plain in _TEXTS:
        found = pattern.match(text)
        if found:
            fields = found.groupdict()
            nlri = plain.format(**{name: value.lower() for name, value in fields.items() if name != "label"}).strip()
            break
    attributes = body["attributes"]
    return Route(
        rd=fields.get("rd", ""),
        nlri=nlri,
        next_hop=str(body.get("next_hop")),
        label=int(fields["label"]) if "label" in fields else None,
        route_targets=frozenset(target.removeprefix("target:") for target in body.get("route_targets", [])),
        local_pref=int(attributes["local-preference"]) if "local-preference" in attributes else None,
        originator_id=attributes.get("originator-id"),
        cluster_list=tuple(attributes.get("cluster-list", "").strip("[] ").split()),
    )
