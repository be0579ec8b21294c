"""Flows of others in the tables of the EVPN dataplane: Neutron's come after ours, and what does not is told apart."""

from __future__ import annotations

import tempfile
from ipaddress import ip_address
from pathlib import Path

from bagpipe.dataplane.driver import Order
from bagpipe.dataplane.model import Bridge as EviBridge
from bagpipe.dataplane.model import BridgeKey, Encapsulation, FloodKey, Key, MacKey, Plug, PlugKey, Port, Remote, Value
from bagpipe.dataplane.ovs_evpn.settings import OvsEvpnSettings
from tests.system.evpn_nodes import (
    EVI,
    INTEGRATION,
    OWN,
    TUNNELS,
    VLAN,
    VNI,
    add_tunnel_bridge,
    driving,
    flows_of_others,
    neutron_flow,
    on_loop,
)
from tests.system.openvswitch import OpenVSwitch

MAC = bytes.fromhex("020000000001")
EAST = Remote(ip_address("192.0.2.2").packed, VNI, Encapsulation.VXLAN)
RECORDS: dict[Key, Value] = {
    BridgeKey(EVI): EviBridge("net", VNI),
    PlugKey(Port(f"patch2tun:{VLAN}", vlan=VLAN)): Plug(EVI),
    FloodKey(EVI, EAST.address): (EAST,),
    MacKey(EVI, MAC): (EAST,),
}


def settings(ovs: OpenVSwitch, bridge: str) -> OvsEvpnSettings:
    return OvsEvpnSettings(ip_address("127.0.0.1"), bridge, f"unix:{ovs.directory}/db.sock", str(ovs.directory))


@on_loop
async def test_flows_of_neutron_come_after_ours_and_a_stronger_one_may_come_before() -> None:
    with tempfile.TemporaryDirectory(prefix="ovse-") as directory, OpenVSwitch(Path(directory)) as ovs:
        ovs.add_bridge(INTEGRATION)
        add_tunnel_bridge(ovs)
        neutron = flows_of_others(ovs)
        async with driving(settings(ovs, TUNNELS)) as driven:
            await driven.want(RECORDS)
            told = await driven.driver.foreign(RECORDS)
            # those of tables that ours are not in do not matter
            unused = [line for line in neutron if any(f"table={table}," in line for table in (3, 6, 10))]
            assert len(told) == len(neutron) - len(unused)
            assert {one.order for one in told} == {Order.AFTER}

            for mac, order in ((MAC.hex(":"), Order.BEFORE), ("02:00:00:00:00:77", Order.BESIDE)):
                neutron_flow(ovs, f"table=20,priority=9,dl_vlan={VLAN},dl_dst={mac},actions=drop")
                stronger = [one for one in await driven.driver.foreign(RECORDS) if f"eth_dst={mac}" in one.text]
                assert [(one.where["priority"], one.order) for one in stronger] == [(9, order)]
            assert await driven.driver.audit(RECORDS) == []


@on_loop
async def test_a_bridge_of_our_own_has_nothing_of_others_until_somebody_adds_it() -> None:
    with tempfile.TemporaryDirectory(prefix="ovse-") as directory, OpenVSwitch(Path(directory)) as ovs:
        ovs.add_bridge(INTEGRATION)
        async with driving(settings(ovs, OWN)) as driven:
            records: dict[Key, Value] = {BridgeKey(EVI): EviBridge("net", VNI), MacKey(EVI, MAC): (EAST,)}
            await driven.want(records)
            assert await driven.driver.foreign(records) == []
            ovs.run("ovs-ofctl", "-O", "OpenFlow15", "add-flow", ovs.target(OWN), "table=5,priority=9,actions=drop")
            (one,) = await driven.driver.foreign(records)
            assert (one.kind, one.order, one.where["table"]) == ("flow", Order.BEFORE, 5)
