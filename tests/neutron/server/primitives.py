"""Objects to JSON and back, with the classes of one module. ``python primitives.py MODULE < primitives``.

Reads a list of primitives (none: makes its own), and writes what its classes make of them, their fingerprints, and
what a field that was left out reads as.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings

warnings.simplefilter("ignore")
from neutron.objects import base  # noqa: E402
from oslo_versionedobjects import fixture  # noqa: E402

NAMES = (
    "BGPVPN",
    "BGPVPNNetAssociation",
    "BGPVPNRouterAssociation",
    "BGPVPNPortAssociation",
    "BGPVPNPortAssociationRoute",
)


def identifier(number: int) -> str:
    """A UUID."""
    return f"00000000-0000-0000-0000-{number:012d}"


def main() -> None:
    """Convert standard input to standard output."""
    module = importlib.import_module(sys.argv[1])
    given = json.load(sys.stdin)
    objects = [base.NeutronObject.clean_obj_from_primitive(one) for one in given] or make(module)
    bare = module.BGPVPN(id=identifier(1), project_id="p", type="l3")
    checker = fixture.ObjectVersionChecker({name: [getattr(module, name)] for name in NAMES})
    answer = {
        "primitives": [one.obj_to_primitive() for one in objects],
        "fingerprints": checker.get_hashes(),
        "left out": [bare.local_pref, bare.vni, bare.name, bare.route_distinguishers],
    }
    json.dump(answer, sys.stdout)


def make(module: object) -> list[object]:
    """One of each, with everything in it."""
    bgpvpn = module.BGPVPN(
        id=identifier(1),
        project_id="p",
        type="l3",
        name="n",
        route_targets=["64512:1"],
        export_targets=["64512:2"],
        route_distinguishers=["64512:9"],
        local_pref=0,
        revision_number=3,
    )
    subnet = {
        "ip_version": 4,
        "id": identifier(4),
        "cidr": "10.0.0.0/24",
        "gateway_ip": "10.0.0.1",
        "gateway_mac": None,
    }
    common = {"project_id": "p", "bgpvpn_id": bgpvpn.id, "bgpvpn": bgpvpn}
    route = module.BGPVPNPortAssociationRoute(
        id=identifier(5), port_association_id=identifier(6), type="bgpvpn", bgpvpn_id=bgpvpn.id, bgpvpn=bgpvpn
    )
    made = [
        bgpvpn,
        module.BGPVPNNetAssociation(id=identifier(2), network_id=identifier(3), subnets=[subnet], **common),
        module.BGPVPNRouterAssociation(
            id=identifier(7),
            router_id=identifier(8),
            connected_networks=[{"network_id": identifier(3), "subnets": [subnet]}],
            **common,
        ),
        module.BGPVPNPortAssociation(
            id=identifier(6),
            port_id=identifier(9),
            subnets=[subnet],
            routes=[route],
            advertise_fixed_ips=False,
            **common,
        ),
    ]
    for one in made:
        one.obj_reset_changes(recursive=True)
    return made


if __name__ == "__main__":
    main()
