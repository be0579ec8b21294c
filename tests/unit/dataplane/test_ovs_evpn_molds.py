"""Flows from molds are octet for octet those that are built one by one; tunnel ports have the names of Neutron's."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from neutron.plugins.ml2.drivers.openvswitch.agent.ovs_neutron_agent import OVSNeutronAgent

from bagpipe.dataplane.model import Encapsulation, MacKey, Neighbour, Remote
from bagpipe.dataplane.openflow import FlowMod, Match, apply
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import POP_VLAN, Action, CopyField, Output, Resubmit, SetField
from bagpipe.dataplane.ovs.pipeline import BACK
from bagpipe.dataplane.ovs_evpn.answers import Answers
from bagpipe.dataplane.ovs_evpn.ground import TunnelGround
from bagpipe.dataplane.ovs_evpn.macs import Macs
from bagpipe.dataplane.ovs_evpn.molds import FlowMold, Mold
from bagpipe.dataplane.ovs_evpn.neutron import BesideNeutron, tunnel_name
from bagpipe.dataplane.ovs_evpn.pipeline import ARP_REQUEST, COOKIE, FIRST, PRIORITY, TO_ALL, WHOLE_COOKIE
from bagpipe.dataplane.ovs_evpn.settings import OvsEvpnSettings
from bagpipe.identifiers import MacAddress

MACS = [MacAddress(bytes(text)) for text in (b"\2\0\0\0\0\1", b"\xfe\xff\xff\xff\xff\xff", b"\0\0\0\0\0\0")]
VLAN = (f.vlan(5),)


class _Ports:
    """Every tunnel port is there, and is the seventh of the bridge."""

    def number(self, name: str) -> int | None:
        return 7

    def error(self, name: str) -> str | None:
        return None


def test_a_mold_puts_each_value_into_all_of_its_places() -> None:
    mold = Mold(b"..AA..BB..AA", b"AA", b"BB")
    assert mold.fill(b"11", b"222") == b"..11..222..11"
    assert Mold(b"nothing", b"AA").fill(b"11") == b"nothing"


@pytest.mark.parametrize("mac", MACS, ids=str)
def test_the_flow_of_a_mac_is_what_it_is_when_built(mac: MacAddress) -> None:
    settings = OvsEvpnSettings(ip_address("192.0.2.1"))
    macs = Macs(BesideNeutron(settings, TunnelGround(settings, _Ports()), {}))
    hop = Remote(ip_address("192.0.2.2").packed, 0xF3A1B2, Encapsulation.VXLAN)
    key = MacKey(1, mac.packed)
    actions = apply(POP_VLAN, SetField(f.TUNNEL_ID(hop.label)), Output(7))
    built = FlowMod(20, PRIORITY, Match.of(*VLAN, f.ETH_DST(mac)), actions, COOKIE)
    instructions, needs = macs.remote(hop)
    assert macs.addition(VLAN, key, instructions).body == built.body
    assert needs == {tunnel_name(hop.address)}
    removal = FlowMod(20, PRIORITY, Match.of(*VLAN, f.ETH_DST(mac)), cookie=COOKIE).removal(WHOLE_COOKIE)
    assert macs.removal(VLAN, key).body == removal.body


@pytest.mark.parametrize("mac", MACS, ids=str)
@pytest.mark.parametrize("text", ["10.0.0.1", "0.0.0.0", "255.255.255.255"])
def test_the_flows_that_answer_arp_are_what_they_are_when_built(mac: MacAddress, text: str) -> None:
    address = ip_address(text)
    asks = (*VLAN, *ARP_REQUEST, TO_ALL, f.ARP_TPA(address))
    actions: tuple[Action, ...] = (
        CopyField(f.ETH_SRC, f.ETH_DST, 48),
        SetField(f.ETH_SRC(mac)),
        SetField(f.ARP_OP(2)),
        CopyField(f.ARP_SHA, f.ARP_THA, 48),
        SetField(f.ARP_SHA(mac)),
        CopyField(f.ARP_SPA, f.ARP_TPA, 32),
        SetField(f.ARP_SPA(address)),
        BACK,
    )
    gratuitous = FlowMod(21, FIRST, Match.of(*asks, f.ARP_SPA(address)), apply(Resubmit(22)), COOKIE)
    answer = FlowMod(21, PRIORITY, Match.of(*asks), apply(*actions), COOKIE)
    answers = Answers(21, VLAN, 22, 121)
    assert [flow.body for flow in answers.additions(address.packed, Neighbour(mac))] == [gratuitous.body, answer.body]
    expected = [flow.removal(WHOLE_COOKIE).body for flow in (gratuitous, answer)]
    assert [flow.body for flow in answers.removals(address.packed)] == expected


@pytest.mark.parametrize("is_router", [False, True])
def test_an_advertisement_says_whether_its_owner_is_a_router(is_router: bool) -> None:
    target = ip_address("fd00::1")
    (flow,) = Answers(21, VLAN, 22, 121).additions(target.packed, Neighbour(MACS[0], is_router))
    text = str(flow)
    assert f"nd_target={target}" in text and f"set_field:{MACS[0]}->eth_src" in text
    assert f"set_field:{'0xe0000000' if is_router else '0x60000000'}->reg1" in text


def test_a_mold_of_a_flow_without_places_is_that_flow() -> None:
    flow = FlowMod(4, PRIORITY, Match.of(f.TUNNEL_ID(7)), apply(Resubmit(10)), COOKIE)
    assert FlowMold(flow).addition().body == flow.body


@pytest.mark.parametrize("text", ["192.0.2.2", "10.255.0.1", "2001:db8::2", "fd00::1:2"])
def test_a_tunnel_port_has_the_name_that_neutron_gives_it(text: str) -> None:
    assert tunnel_name(ip_address(text).packed) == OVSNeutronAgent.get_tunnel_name("vxlan", "192.0.2.1", text)
