"""Whatever the order in which pushes, answers and ports come: the same facts end in the same attachments and flows."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.neutron import objects
from bagpipe.neutron.agent import redirect
from bagpipe.neutron.agent.extension import BagpipeBgpvpnAgentExtension
from bagpipe.neutron.agent.facts import NetworkAssociation, Port, PortAssociation, Subnet
from bagpipe.neutron.agent.link.attachment import Attachment
from bagpipe.neutron.agent.pulling import NetworkAnswer, PortAnswer
from bagpipe.neutron.agent.redirect import Wiring
from tests.neutron.agent.world import (
    BLUE,
    FOUR,
    LAN,
    NETWORK,
    OTHER_NETWORK,
    PLUMBING,
    RED,
    SITE,
    SIX,
    bgpvpn,
    details,
    net_association,
    port,
    port_association,
    routed,
    router_association,
    uuid,
)

NETWORKS = (NETWORK, OTHER_NETWORK)
PORTS = tuple(
    replace(
        port(uuid(0xB00 + index), f"fa:16:3e:00:01:{index:02x}", f"10.0.0.{10 + index}"),
        network_id=NETWORKS[index % 2],
        vlan=5 + index % 2,
        ofport=40 + index,
    )
    for index in range(4)
)
VPNS = (RED, BLUE, LAN)


def wire(kind: str, said: dict[str, Any]) -> Any:
    """An object as it comes from a server."""
    held = {**said, "bgpvpn": objects.BGPVPN(**said["bgpvpn"])}
    if "routes" in held:
        held["routes"] = []
    return getattr(objects, kind)(**held)


@dataclass
class Server:
    """What a server's database holds, and the pushes that are on their way."""

    networks: dict[str, tuple[NetworkAssociation, str]] = field(default_factory=dict)
    routers: dict[str, tuple[NetworkAssociation, frozenset[str]]] = field(default_factory=dict)
    ports: dict[str, PortAssociation] = field(default_factory=dict)
    has_router: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(NETWORKS, False))
    pushes: deque[tuple[str, list[Any], str]] = field(default_factory=deque)

    def subnets(self, network_id: str) -> tuple[Subnet, ...]:
        return (routed(FOUR), routed(SIX)) if self.has_router[network_id] else (FOUR, SIX)

    def network_object(self, association_id: str) -> Any:
        association, network_id = self.networks[association_id]
        said = net_association(association, *self.subnets(network_id), network_id=network_id)
        return wire("BGPVPNNetAssociation", said)

    def router_object(self, association_id: str, networks: frozenset[str] | None = None) -> Any:
        association, connected = self.routers[association_id]
        held = {each: self.subnets(each) for each in sorted(connected if networks is None else networks)}
        return wire("BGPVPNRouterAssociation", router_association(association, held))

    def port_object(self, association_id: str) -> Any:
        association = self.ports[association_id]
        network_id = next(each.network_id for each in PORTS if each.id == association.port_id)
        return wire("BGPVPNPortAssociation", port_association(association, *self.subnets(network_id)))

    def answer_network(self, network_id: str) -> NetworkAnswer:
        return NetworkAnswer(
            network_id,
            [self.network_object(key) for key, (_, held) in self.networks.items() if held == network_id],
            [self.router_object(key) for key, (_, held) in self.routers.items() if network_id in held],
        )

    def answer_port(self, port_id: str) -> PortAnswer:
        return PortAnswer(
            port_id, [self.port_object(key) for key, held in self.ports.items() if held.port_id == port_id]
        )


class PlayedPuller:
    def __init__(self) -> None:
        self.networks: set[str] = set()
        self.ports: set[str] = set()

    def ask_network(self, network_id: str, after: float = 0.0) -> None:
        self.networks.add(network_id)

    def ask_port(self, port_id: str, after: float = 0.0) -> None:
        self.ports.add(port_id)

    def withdraw_network(self, network_id: str) -> None:
        self.networks.discard(network_id)

    def withdraw_port(self, port_id: str) -> None:
        self.ports.discard(port_id)

    def pushed(self, **_: Any) -> None:
        pass


class PlayedLink:
    def __init__(self) -> None:
        self.ports: dict[str, tuple[Attachment, ...]] = {}

    def set_port(self, port_id: str, attachments: tuple[Attachment, ...]) -> None:
        self.ports[port_id] = attachments

    def forget_port(self, port_id: str) -> None:
        self.ports.pop(port_id, None)


class PlayedProgrammer:
    def changed(self, networks: Any) -> None:
        list(networks)


class Agent:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.extension = BagpipeBgpvpnAgentExtension()
        self.extension.link = self.link = PlayedLink()
        self.extension.puller = self.puller = PlayedPuller()
        self.extension.programmer = PlayedProgrammer()
        self.extension._known.site = SITE
        # Pushes come in order here: nothing may rest on their being asked for again.
        self.extension._recency.DOUBT = 0.0  # type: ignore[misc]
        self.present: dict[str, Port] = {}

    def handle(self, given: Port) -> None:
        self.present[given.id] = given
        said = details(given, local_vlan=given.vlan, vif_port=SimpleNamespace(ofport=given.ofport))
        self.extension.handle_port(None, said)

    def delete(self, port_id: str) -> None:
        self.present.pop(port_id, None)
        self.extension.delete_port(None, {"port_id": port_id})

    def answer_one(self) -> bool:
        if self.puller.networks:
            self.extension.answered(self.server.answer_network(self.puller.networks.pop()))
        elif self.puller.ports:
            self.extension.answered(self.server.answer_port(self.puller.ports.pop()))
        else:
            return False
        return True

    def deliver_one(self) -> bool:
        if not self.server.pushes:
            return False
        kind, held, event = self.server.pushes.popleft()
        self.extension.pushed(None, kind, held, event)
        return True

    def quiesce(self) -> None:
        while self.deliver_one() or self.answer_one():
            pass

    def attachments(self) -> dict[str, tuple[Attachment, ...]]:
        return {key: held for key, held in self.link.ports.items() if held}

    def flows(self) -> frozenset[Any]:
        wiring = Wiring(PLUMBING, firewall_marks=False)
        wanted = [each for network_id in NETWORKS for each in self.extension.redirects(network_id) or ()]
        return frozenset(flow for each in wanted for flow in redirect.flows(each, wiring))


class Story:
    """Draws what happens."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.server = Server()
        self.agent = Agent(self.server)
        self.counter = 0x1000

    def one(self, choices: Any) -> Any:
        return self.data.draw(st.sampled_from(sorted(choices)))

    def new_id(self) -> str:
        self.counter += 1
        return uuid(self.counter)

    def event(self) -> None:
        events = ("associate", "port", "end", "interface", "router", "handle", "delete", "answer", "deliver")
        getattr(self, self.data.draw(st.sampled_from(events)))()

    def associate(self) -> None:
        association_id, vpn = self.new_id(), self.data.draw(st.sampled_from(VPNS))
        self.server.networks[association_id] = (NetworkAssociation(association_id, vpn), self.one(NETWORKS))
        self.push("BGPVPNNetAssociation", self.server.network_object(association_id), "created")

    def port(self) -> None:
        association_id, vpn = self.new_id(), self.data.draw(st.sampled_from(VPNS))
        held = PortAssociation(
            association_id,
            vpn,
            self.one(each.id for each in PORTS),
            self.data.draw(st.booleans()),
        )
        self.server.ports[association_id] = held
        self.push("BGPVPNPortAssociation", self.server.port_object(association_id), "created")

    def router(self) -> None:
        association_id, vpn = self.new_id(), self.data.draw(st.sampled_from((RED, BLUE)))
        networks = frozenset(self.data.draw(st.sets(st.sampled_from(NETWORKS))))
        self.server.routers[association_id] = (NetworkAssociation(association_id, vpn), networks)
        self.push("BGPVPNRouterAssociation", self.server.router_object(association_id), "created")

    def end(self) -> None:
        kinds = {
            "BGPVPNNetAssociation": (self.server.networks, self.server.network_object),
            "BGPVPNRouterAssociation": (self.server.routers, self.server.router_object),
            "BGPVPNPortAssociation": (self.server.ports, self.server.port_object),
        }
        held = [(kind, key) for kind, (table, _) in kinds.items() for key in table]
        if held:
            kind, key = self.one(held)
            self.push(kind, kinds[kind][1](key), "deleted")
            kinds[kind][0].pop(key)

    def interface(self) -> None:
        """A router gets an interface on a network, or loses it."""
        network_id = self.one(NETWORKS)
        self.server.has_router[network_id] = not self.server.has_router[network_id]
        for key in sorted(self.server.networks):
            if self.server.networks[key][1] == network_id:
                self.push("BGPVPNNetAssociation", self.server.network_object(key), "updated")
        for key in sorted(self.server.routers):
            association, networks = self.server.routers[key]
            if self.server.has_router[network_id]:
                self.server.routers[key] = (association, networks | {network_id})
                self.push("BGPVPNRouterAssociation", self.server.router_object(key), "updated")
            elif network_id in networks:
                self.push("BGPVPNRouterAssociation", self.server.router_object(key, frozenset({network_id})), "deleted")
                self.server.routers[key] = (association, networks - {network_id})
        for key in sorted(self.server.ports):
            self.push("BGPVPNPortAssociation", self.server.port_object(key), "updated")

    def push(self, kind: str, held: Any, event: str) -> None:
        self.server.pushes.append((kind, [held], event))

    def handle(self) -> None:
        given = PORTS[self.data.draw(st.integers(0, len(PORTS) - 1))]
        self.agent.handle(replace(given, admin_up=self.data.draw(st.sampled_from((True, True, False)))))

    def delete(self) -> None:
        self.agent.delete(self.one(each.id for each in PORTS))

    def answer(self) -> None:
        self.agent.answer_one()

    def deliver(self) -> None:
        self.agent.deliver_one()


@settings(max_examples=200)
@given(st.data())
def test_the_same_facts_end_in_the_same_attachments_and_flows(data: st.DataObject) -> None:
    # given a server and an agent to which things happen in any order, pushes late, answers early or late
    story = Story(data)
    for _ in range(data.draw(st.integers(1, 30))):
        story.event()
    # when all has arrived
    story.agent.quiesce()
    # then the agent holds what one does that starts now
    fresh = Agent(story.server)
    for given_port in story.agent.present.values():
        fresh.handle(given_port)
    fresh.quiesce()
    assert story.agent.attachments() == fresh.attachments()
    assert story.agent.flows() == fresh.flows()


@settings(max_examples=50)
@given(st.data())
def test_nothing_is_kept_of_networks_and_ports_that_are_gone(data: st.DataObject) -> None:
    story = Story(data)
    for _ in range(20):
        story.event()
    # when all ports go
    for each in PORTS:
        story.agent.delete(each.id)
    story.agent.quiesce()
    # then nothing is left
    assert story.agent.attachments() == {}
    assert story.agent.flows() == frozenset()
    assert story.agent.extension._known.networks == frozenset()
    assert story.agent.extension._known.ports == {}
    assert story.agent.puller.networks == set()


def test_the_objects_of_the_story_are_what_the_wire_has() -> None:
    said = bgpvpn(RED)
    assert objects.BGPVPN(**said).obj_to_primitive()["versioned_object.name"] == "BGPVPN"
