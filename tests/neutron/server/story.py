"""Runs one story of API calls on a Neutron server with a driver, and writes what left for agents at each step.

``python story.py DRIVER FILE``: the answer is JSON, ``{step: {"status": HTTP status, "sent": [message, ...]}}``. What
differs from run to run is given names (identifiers, MAC addresses) or left out (times).
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from neutron_server import HOST, PROJECT, NeutronServer

OURS = re.compile(r"neutron-vo-BGPVPN.*|q-agent-notifier-bagpipe-bgpvpn-update.*")
# Identifiers that follow from others, and so differ from run to run as those do.
DERIVED = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
TIMES = ("created_at", "updated_at", "revision_number")


class Story:
    """The steps so far, and what to call things."""

    def __init__(self, driver: str, state: Path) -> None:
        self.server = NeutronServer(driver, state)
        self.names: dict[str, str] = {PROJECT: "<project>"}
        self.steps: dict[str, dict[str, Any]] = {}
        self.made: dict[str, dict[str, Any]] = {}

    def step(self, title: str, act: Callable[[], Any]) -> Any:
        """Do something, and keep what was sent of it."""
        self.server.messages.clear()
        try:
            answer, status = act(), 200
        except AssertionError as refused:
            answer, status = None, int(re.search(r": (\d+) ", str(refused))[1])
        assert title not in self.steps, title
        sent = [message for message in self.server.messages if OURS.fullmatch(message["topic"])]
        self.steps[title] = {"status": status, "sent": sent}
        return answer

    def make(self, name: str, path: str, resource: str, /, **values: Any) -> str:
        """A named resource; its identifier."""
        one = self.server.make(path, resource, **values)
        self.know(name, one)
        return str(one["id"])

    def know(self, name: str, one: dict[str, Any]) -> None:
        """Give a resource its name."""
        self.made[name] = one
        self.names[one["id"]] = f"<{name}>"
        if "mac_address" in one:
            self.names[one["mac_address"]] = f"<{name} mac>"

    def named(self, value: Any) -> Any:
        """A value with names for what differs from run to run."""
        if isinstance(value, dict):
            return {key: self.named(item) for key, item in sorted(value.items()) if key not in TIMES}
        if isinstance(value, list):
            return [self.named(item) for item in value]
        if isinstance(value, str):
            for known, name in self.names.items():
                value = value.replace(known, name)
            value = DERIVED.sub("<derived>", value)
        return value

    def port(self, name: str, network: str, /, **values: Any) -> str:
        """A port of a machine on the one compute host."""
        values = {"device_owner": "compute:nova", "binding:host_id": HOST, "device_id": name} | values
        return self.make(name, "ports", "port", network_id=self.made[network]["id"], **values)

    def associate(self, name: str, bgpvpn: str, kind: str, /, **values: Any) -> str:
        """An association of a BGPVPN."""
        path = f"bgpvpn/bgpvpns/{self.made[bgpvpn]['id']}/{kind}_associations"
        return self.make(name, path, f"{kind}_association", **values)

    def association(self, bgpvpn: str, kind: str, name: str) -> str:
        """The path of an association."""
        return f"bgpvpn/bgpvpns/{self.made[bgpvpn]['id']}/{kind}_associations/{self.made[name]['id']}"

    def plug(self, router: str, name: str, **what: str) -> None:
        """Add an interface to a router."""
        answer = self._interface(router, "add", what)
        _, port = self.server.request("GET", f"ports/{answer['port_id']}")
        self.know(name, port["port"])

    def unplug(self, router: str, **what: str) -> None:
        """Remove an interface of a router."""
        self._interface(router, "remove", what)

    def _interface(self, router: str, verb: str, what: dict[str, str]) -> Any:
        path = f"routers/{self.made[router]['id']}/{verb}_router_interface"
        status, answer = self.server.request("PUT", path, what)
        if status >= 300:
            raise AssertionError(f"PUT {path}: {status} {answer}")
        return answer


def tell(story: Story) -> None:  # noqa: PLR0915 -- a story is long
    """The story."""
    server, step = story.server, story.step

    def id_of(name: str) -> str:
        return str(story.made[name]["id"])

    # A network with two subnets and two machines; another one; a router.
    story.make("net1", "networks", "network", name="net1")
    story.make("sub1", "subnets", "subnet", network_id=id_of("net1"), cidr="10.0.0.0/24", ip_version=4)
    story.make("net2", "networks", "network", name="net2")
    story.make("sub2", "subnets", "subnet", network_id=id_of("net2"), cidr="10.2.0.0/24", ip_version=4)
    story.make("empty", "networks", "network", name="empty")
    story.make("outside", "networks", "network", name="outside", **{"router:external": True})
    story.make("outside4", "subnets", "subnet", network_id=id_of("outside"), cidr="192.0.2.0/24", ip_version=4)
    story.make("router1", "routers", "router", name="router1")

    # Ports come and go.
    step("port created", lambda: story.port("port1", "net1", fixed_ips=[{"ip_address": "10.0.0.11"}]))
    step("port becomes active", lambda: server.core.update_port_status(server.context, id_of("port1"), "ACTIVE", HOST))
    step("port stays active", lambda: server.core.update_port_status(server.context, id_of("port1"), "ACTIVE", HOST))
    step("port is renamed", lambda: server.change(f"ports/{id_of('port1')}", "port", name="another"))
    story.port("port2", "net2", fixed_ips=[{"ip_address": "10.2.0.12"}])
    story.port("port3", "net1", fixed_ips=[{"ip_address": "10.0.0.13"}])
    step(
        "port of DHCP becomes active",
        lambda: (
            story.port("dhcp", "net1", device_owner="network:dhcp"),
            server.core.update_port_status(server.context, id_of("dhcp"), "ACTIVE", HOST),
        ),
    )
    step(
        "port on an external network becomes active",
        lambda: (
            story.port("outsider", "outside"),
            server.core.update_port_status(server.context, id_of("outsider"), "ACTIVE", HOST),
        ),
    )

    # BGPVPNs and network associations.
    step(
        "bgpvpn created",
        lambda: story.make(
            "vpn1", "bgpvpn/bgpvpns", "bgpvpn", name="vpn1", route_targets=["64512:1"], export_targets=["64512:2"]
        ),
    )
    story.make("vpn2", "bgpvpn/bgpvpns", "bgpvpn", name="vpn2", route_targets=["64512:20"], local_pref=0)
    story.make("vpnl2", "bgpvpn/bgpvpns", "bgpvpn", name="vpnl2", type="l2", route_targets=["64512:30"], vni=1234)
    step(
        "bgpvpn with route distinguishers created",
        lambda: story.make(
            "vpnrd", "bgpvpn/bgpvpns", "bgpvpn", route_targets=["64512:9"], route_distinguishers=["64512:999"]
        ),
    )
    step("network associated", lambda: story.associate("na1", "vpn1", "network", network_id=id_of("net1")))
    step("empty network associated", lambda: story.associate("nae", "vpn1", "network", network_id=id_of("empty")))
    step("l2 network associated", lambda: story.associate("nal2", "vpnl2", "network", network_id=id_of("net1")))
    step(
        "external network associated",
        lambda: story.associate("naout", "vpn1", "network", network_id=id_of("outside")),
    )
    step(
        "port of an associated network becomes active",
        lambda: server.core.update_port_status(server.context, id_of("port3"), "ACTIVE", HOST),
    )
    step(
        "port of an associated network goes down",
        lambda: server.core.update_port_status(server.context, id_of("port3"), "DOWN", HOST),
    )
    step("port of an associated network is deleted", lambda: server.remove(f"ports/{id_of('port3')}"))
    step(
        "bgpvpn gets other targets",
        lambda: server.change(f"bgpvpn/bgpvpns/{id_of('vpn1')}", "bgpvpn", import_targets=["64512:3"]),
    )
    step("bgpvpn is renamed", lambda: server.change(f"bgpvpn/bgpvpns/{id_of('vpn1')}", "bgpvpn", name="other"))
    step(
        "bgpvpn gets what it has",
        lambda: server.change(f"bgpvpn/bgpvpns/{id_of('vpn1')}", "bgpvpn", import_targets=["64512:3"]),
    )

    # A router on the associated network.
    step("interface added to an associated network", lambda: story.plug("router1", "if1", subnet_id=id_of("sub1")))
    step("interface removed from an associated network", lambda: story.unplug("router1", subnet_id=id_of("sub1")))
    step("network disassociated", lambda: server.remove(story.association("vpn1", "network", "na1")))
    server.remove(story.association("vpnl2", "network", "nal2"))

    # Router associations.
    step(
        "router without networks associated",
        lambda: story.associate("ra1", "vpn1", "router", router_id=id_of("router1")),
    )
    step("interface added to an associated router", lambda: story.plug("router1", "if1b", subnet_id=id_of("sub1")))
    step("second interface added", lambda: story.plug("router1", "if2", subnet_id=id_of("sub2")))
    step(
        "bgpvpn of a router gets other targets",
        lambda: server.change(f"bgpvpn/bgpvpns/{id_of('vpn1')}", "bgpvpn", route_targets=["64512:4"]),
    )
    step("interface removed from an associated router", lambda: story.unplug("router1", subnet_id=id_of("sub2")))
    step("last interface removed", lambda: story.unplug("router1", subnet_id=id_of("sub1")))
    story.plug("router1", "if1c", subnet_id=id_of("sub1"))
    step("router disassociated", lambda: server.remove(story.association("vpn1", "router", "ra1")))
    step("router associated", lambda: story.associate("ra2", "vpn2", "router", router_id=id_of("router1")))

    # Extra routes.
    def extra(*routes: tuple[str, str]) -> Callable[[], Any]:
        told = [{"destination": destination, "nexthop": nexthop} for destination, nexthop in routes]
        return lambda: server.change(f"routers/{id_of('router1')}", "router", routes=told)

    step("extra route to a machine", extra(("40.0.0.0/24", "10.0.0.11")))
    story.steps["pull of the next hop"] = {"sent": server.pull("BGPVPNPortAssociation", port_id=id_of("port1"))}
    step("another extra route to it", extra(("40.0.0.0/24", "10.0.0.11"), ("40.0.1.0/24", "10.0.0.11")))
    step("extra route to nobody", extra(("40.0.0.0/24", "10.0.0.11"), ("40.0.1.0/24", "10.0.0.99")))
    step(
        "extra routes no longer advertised",
        lambda: server.change(
            story.association("vpn2", "router", "ra2"), "router_association", advertise_extra_routes=False
        ),
    )
    step(
        "extra routes advertised again",
        lambda: server.change(
            story.association("vpn2", "router", "ra2"), "router_association", advertise_extra_routes=True
        ),
    )
    path = f"routers/{id_of('router1')}/remove_extraroutes"
    step(
        "extra route removed by the call for it",
        lambda: server.change(path, "router", routes=[{"destination": "40.0.0.0/24", "nexthop": "10.0.0.11"}]),
    )
    extra()()
    step("bgpvpn of a router is deleted", lambda: server.remove(f"bgpvpn/bgpvpns/{id_of('vpn2')}"))
    story.make("vpn3", "bgpvpn/bgpvpns", "bgpvpn", name="vpn3", route_targets=["64512:33"], local_pref=50)
    step(
        "router associated without its extra routes",
        lambda: story.associate("ra3", "vpn3", "router", router_id=id_of("router1"), advertise_extra_routes=False),
    )
    story.steps["association without its extra routes"] = {
        "sent": [server.request("GET", story.association("vpn3", "router", "ra3"))[1]]
    }
    server.remove(story.association("vpn3", "router", "ra3"))

    # Port associations.
    story.make("vpn4", "bgpvpn/bgpvpns", "bgpvpn", name="vpn4", route_targets=["64512:44"], local_pref=100)
    routes = [
        {"type": "prefix", "prefix": "50.0.0.0/24", "local_pref": 200},
        {"type": "prefix", "prefix": "2001:db8:5::/64"},
        {"type": "bgpvpn", "bgpvpn_id": id_of("vpn4")},
    ]
    step(
        "port associated",
        lambda: story.associate("pa1", "vpn3", "port", port_id=id_of("port2"), routes=routes),
    )
    port_association = story.association("vpn3", "port", "pa1") if "pa1" in story.made else ""
    step(
        "port association gets fewer routes",
        lambda: server.change(port_association, "port_association", routes=[routes[0], routes[2]]),
    )
    step(
        "port association gets what it has",
        lambda: server.change(port_association, "port_association", routes=[routes[2], routes[0]]),
    )
    step(
        "port association without fixed addresses",
        lambda: server.change(port_association, "port_association", advertise_fixed_ips=False),
    )
    step(
        "bgpvpn of a port gets other targets",
        lambda: server.change(f"bgpvpn/bgpvpns/{id_of('vpn3')}", "bgpvpn", route_targets=["64512:34"]),
    )
    step(
        "leaked bgpvpn gets other targets",
        lambda: server.change(f"bgpvpn/bgpvpns/{id_of('vpn4')}", "bgpvpn", route_targets=["64512:45"]),
    )
    step("leaked bgpvpn is deleted", lambda: server.remove(f"bgpvpn/bgpvpns/{id_of('vpn4')}"))
    story.make("vpn5", "bgpvpn/bgpvpns", "bgpvpn", name="vpn5", route_targets=["64512:55"])
    story.associate("pa2", "vpn5", "port", port_id=id_of("port2"))
    step("port disassociated", lambda: server.remove(story.association("vpn5", "port", "pa2")))
    step("bgpvpn of a port is deleted", lambda: server.remove(f"bgpvpn/bgpvpns/{id_of('vpn3')}"))
    step(
        "port on an external network associated",
        lambda: story.associate("paout", "vpn5", "port", port_id=id_of("outsider")),
    )
    step("port of DHCP associated", lambda: story.associate("padhcp", "vpn5", "port", port_id=id_of("dhcp")))


def main(tell: Callable[[Story], None]) -> None:
    """Tell a story with a driver, as the command line says."""
    driver, answer = sys.argv[1:]
    with tempfile.TemporaryDirectory() as state:
        story = Story(driver, Path(state))
        tell(story)
    Path(answer).write_text(json.dumps(story.named(story.steps), indent=1))


if __name__ == "__main__":
    main(tell)
