"""Scenes beyond the story: what only this project's drivers do, or do right. ``python scenes.py DRIVER FILE``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from neutron_server import HOST
from story import Story, main

ASSOCIATIONS = 10


def play(story: Story) -> None:  # noqa: PLR0915 -- a list of scenes
    """All scenes."""
    server, step = story.server, story.step

    def id_of(name: str) -> str:
        return str(story.made[name]["id"])

    def pulled(title: str, resource: str, **filters: Any) -> None:
        story.steps[title] = {"sent": server.pull(resource, **filters)}

    def becomes(port: str, status: str) -> Any:
        return lambda: server.core.update_port_status(server.context, id_of(port), status, HOST)

    def network(name: str, number: int) -> None:
        story.make(name, "networks", "network", name=name)
        story.make(f"{name} v4", "subnets", "subnet", network_id=id_of(name), cidr=f"10.{number}.0.0/24", ip_version=4)

    for number in range(1, 6):
        story.make(f"vpn{number}", "bgpvpn/bgpvpns", "bgpvpn", route_targets=[f"64512:{number}"])

    # Distributed and highly available routers.
    for number, kind in ((1, "distributed"), (2, "ha")):
        network(kind, number)
        story.make(f"{kind} router", "routers", "router", **{kind: True})
        story.associate(f"ra {kind}", "vpn1", "router", router_id=id_of(f"{kind} router"))
        step(
            f"interface of a {kind} router added",
            lambda kind=kind: story.plug(f"{kind} router", f"if {kind}", subnet_id=id_of(f"{kind} v4")),
        )
        pulled(f"pull of a network behind a {kind} router", "BGPVPNRouterAssociation", network_id=id_of(kind))
        step(
            f"interface of a {kind} router removed",
            lambda kind=kind: story.unplug(f"{kind} router", subnet_id=id_of(f"{kind} v4")),
        )

    # Two routers on a network of two families.
    network("dual", 3)
    story.make("dual v6", "subnets", "subnet", network_id=id_of("dual"), cidr="2001:db8:3::/64", ip_version=6)
    story.make("r1", "routers", "router")
    story.make("r2", "routers", "router")
    story.plug("r1", "gateway", subnet_id=id_of("dual v4"))
    story.port("leg", "dual", device_owner="", device_id="", fixed_ips=[{"subnet_id": id_of("dual v4")}])
    story.plug("r2", "leg", port_id=id_of("leg"))
    step(
        "network of two families associated", lambda: story.associate("na", "vpn2", "network", network_id=id_of("dual"))
    )
    story.port("both", "dual", fixed_ips=[{"ip_address": "2001:db8:3::11"}, {"ip_address": "10.3.0.11"}])
    step("port of two families becomes active", becomes("both", "ACTIVE"))
    story.port("six", "dual", fixed_ips=[{"ip_address": "2001:db8:3::12"}])
    step("port of IPv6 alone becomes active", becomes("six", "ACTIVE"))
    step("one of two interfaces removed", lambda: story.unplug("r2", port_id=id_of("leg")))

    # A network becomes external, and internal again.
    network("moody", 4)
    story.port("mood", "moody")
    story.associate("na moody", "vpn3", "network", network_id=id_of("moody"))
    story.associate("pa moody", "vpn4", "port", port_id=id_of("mood"))
    path = f"networks/{id_of('moody')}"
    step("network becomes external", lambda: server.change(path, "network", **{"router:external": True}))
    pulled("pull of an external network", "BGPVPNNetAssociation", network_id=id_of("moody"))
    pulled("pull of a port on an external network", "BGPVPNPortAssociation", port_id=id_of("mood"))
    step(
        "bgpvpn of an external network gets other targets",
        lambda: server.change(f"bgpvpn/bgpvpns/{id_of('vpn3')}", "bgpvpn", route_targets=["64512:33"]),
    )
    step("network becomes internal", lambda: server.change(path, "network", **{"router:external": False}))

    # Route distinguishers and the order of targets.
    network("plain", 5)
    story.associate("na plain", "vpn5", "network", network_id=id_of("plain"))
    vpn5 = f"bgpvpn/bgpvpns/{id_of('vpn5')}"
    step("route distinguisher set", lambda: server.change(vpn5, "bgpvpn", route_distinguishers=["64512:555"]))
    step("two targets", lambda: server.change(vpn5, "bgpvpn", route_targets=["64512:5", "64512:6"]))
    step("two targets in another order", lambda: server.change(vpn5, "bgpvpn", route_targets=["64512:6", "64512:5"]))

    # A commit that fails, and a message queue that is away.
    database = server.bgpvpn.driver.bgpvpn_db
    original = database.delete_net_assoc

    def fails(*_: Any) -> None:
        raise RuntimeError("the database is away")

    database.delete_net_assoc = fails
    step("disassociation that is rolled back", lambda: server.remove(story.association("vpn5", "network", "na plain")))
    database.delete_net_assoc = original
    pulled("pull after the rollback", "BGPVPNNetAssociation", network_id=id_of("plain"))
    server.fails_to_send = True
    step(
        "association without a message queue",
        lambda: story.associate("na away", "vpn4", "network", network_id=id_of("plain")),
    )
    server.fails_to_send = False
    pulled("pull once it is back", "BGPVPNNetAssociation", network_id=id_of("plain"))

    # How many queries a pull costs.
    network("costly", 6)
    story.make("r3", "routers", "router")
    story.plug("r3", "costly gateway", subnet_id=id_of("costly v4"))
    costs: dict[str, list[list[int]]] = {}
    for number in range(ASSOCIATIONS):
        name = f"many{number}"
        story.make(name, "bgpvpn/bgpvpns", "bgpvpn", route_targets=[f"64513:{number}"])
        story.associate(f"na {name}", name, "network", network_id=id_of("plain"))
        story.associate(f"ra {name}", name, "router", router_id=id_of("r3"))
        routes = [{"type": "bgpvpn", "bgpvpn_id": id_of("many0")}]
        story.associate(f"pa {name}", name, "port", port_id=id_of("both"), routes=routes)
        for resource, filters in (
            ("BGPVPNNetAssociation", {"network_id": id_of("plain")}),
            ("BGPVPNRouterAssociation", {"network_id": id_of("costly")}),
            ("BGPVPNPortAssociation", {"port_id": id_of("both")}),
        ):
            server.statements.clear()
            answers = server.pull(resource, **filters)
            selects = [statement for statement in server.statements if statement.lstrip().startswith("SELECT")]
            costs.setdefault(resource, []).append([len(answers), len(selects)])
    story.steps["costs"] = {"sent": [costs]}


if __name__ == "__main__":
    main(play)
