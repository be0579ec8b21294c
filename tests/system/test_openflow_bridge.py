"""The lasting OpenFlow connection against a real bridge, and ovs-ofctl as the measure of what is written."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from bagpipe.dataplane.errors import NoAnswer, Unreachable
from bagpipe.dataplane.openflow import (
    DP_HASH,
    Bridge,
    BridgeEvent,
    Bucket,
    Connected,
    Disconnected,
    Fate,
    FlowMod,
    GroupMod,
    GroupType,
    Match,
    Ours,
    Selection,
    Timing,
    Touched,
    apply,
)
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import (
    DEC_MPLS_TTL,
    DEC_TTL,
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    ETH_MPLS,
    POP_VLAN,
    PORT_IN_PORT,
    CopyField,
    Output,
    Pop,
    PopMpls,
    Push,
    PushMpls,
    PushVlan,
    Resubmit,
    SetField,
    SetMplsTtl,
    SetTtl,
    ToGroup,
    load,
)
from bagpipe.dataplane.openflow.flows import FlowFlags
from bagpipe.dataplane.openflow.instructions import GotoTable, WriteMetadata
from bagpipe.dataplane.openflow.monitoring import FlowEvent, FlowUpdate
from bagpipe.identifiers import MacAddress
from tests.system.openvswitch import OpenVSwitch

IPV4, IPV6, MPLS, ARP = (f.ETH_TYPE(kind) for kind in (ETH_IPV4, ETH_IPV6, ETH_MPLS, ETH_ARP))
MAC = MacAddress.from_text("fa:16:3e:00:00:02")
OURS = Ours(0xB << 60, 0xF << 60)
QUICK = Timing(retry=0.05, retry_limit=0.2)

# What ovs-ofctl is told, and the same in our words.
FLOWS: dict[str, FlowMod] = {
    "table=0,priority=10,in_port=7,ip,actions=resubmit(,1)": FlowMod(
        0, 10, Match.of(f.IN_PORT(7), IPV4), apply(Resubmit(1))
    ),
    "table=0,priority=10,in_port=7,vlan_tci=0x1005/0x1fff,ip,actions=pop_vlan,set_field:3->reg0,resubmit(,2)": FlowMod(
        0, 10, Match.of(f.IN_PORT(7), f.vlan(5), IPV4), apply(POP_VLAN, SetField(f.REG[0](3)), Resubmit(2))
    ),
    "cookie=0xb000000000000001,table=1,priority=20,mpls,mpls_label=16,mpls_bos=1,"
    "actions=pop_mpls:0x0800,set_field:fa:16:3e:00:00:02->eth_dst,output:3": FlowMod(
        1,
        20,
        Match.of(MPLS, f.MPLS_LABEL(16), f.MPLS_BOS(1)),
        apply(PopMpls(ETH_IPV4), SetField(f.ETH_DST(MAC)), Output(3)),
        cookie=0xB000000000000001,
    ),
    "table=2,priority=30,reg0=3,ip,nw_dst=10.0.0.0/24,actions=dec_ttl,push_mpls:0x8847,set_field:17->mpls_label,"
    "set_mpls_ttl(64),output:4": FlowMod(
        2,
        30,
        Match.of(f.REG[0](3), IPV4, f.IPV4_DST.prefix(0x0A000000, 24)),
        apply(DEC_TTL, PushMpls(), SetField(f.MPLS_LABEL(17)), SetMplsTtl(64), Output(4)),
    ),
    "table=2,priority=30,reg0=3,ipv6,ipv6_dst=2001:db8::/64,actions=set_field:17->tun_id,"
    "set_field:192.0.2.7->tun_dst,output:5": FlowMod(
        2,
        30,
        Match.of(f.REG[0](3), IPV6, f.IPV6_DST.prefix(0x20010DB8 << 96, 64)),
        apply(SetField(f.TUNNEL_ID(17)), SetField(f.TUN_DST(0xC0000207)), Output(5)),
    ),
    "table=2,priority=31,tcp,tp_dst=80/0xfff0,actions=load:9->NXM_NX_REG1[4..7],goto_table:5": FlowMod(
        2,
        31,
        Match.of(IPV4, f.IP_PROTO(6), f.TCP_DST.masked(80, 0xFFF0)),
        (*apply(load(f.REG[1], 9, 4, 4)), GotoTable(5)),
    ),
    "table=3,priority=1,arp,arp_op=1,arp_tpa=10.0.0.1,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],"
    "set_field:2->arp_op,move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],in_port": FlowMod(
        3,
        1,
        Match.of(ARP, f.ARP_OP(1), f.ARP_TPA(0x0A000001)),
        apply(
            CopyField(f.ETH_SRC, f.ETH_DST, 48),
            SetField(f.ARP_OP(2)),
            CopyField(f.ARP_SHA, f.ARP_THA, 48),
            Output(PORT_IN_PORT),
        ),
    ),
    "table=3,priority=2,icmp6,icmp_type=135,icmp_code=0,nd_target=fd00::1,actions=set_field:136->icmpv6_type,"
    "set_field:0xe0000000->nd_reserved,set_field:2->nd_options_type": FlowMod(
        3,
        2,
        Match.of(IPV6, f.IP_PROTO(58), f.ICMPV6_TYPE(135), f.ICMPV6_CODE(0), f.ND_TARGET((0xFD << 120) + 1)),
        apply(SetField(f.ICMPV6_TYPE(136)), SetField(f.ND_RESERVED(0xE0000000)), SetField(f.ND_OPTIONS_TYPE(2))),
    ),
    "table=3,priority=3,icmp6,icmp_type=136,actions=push:reg1[0..7],pop:nd_options_type,push:reg1,pop:nd_reserved,"
    "push:reg2[4..7],pop:reg3[8..11]": FlowMod(
        3,
        3,
        Match.of(IPV6, f.IP_PROTO(58), f.ICMPV6_TYPE(136)),
        apply(
            *(Push(f.REG[1], 8), Pop(f.ND_OPTIONS_TYPE, 8), Push(f.REG[1], 32), Pop(f.ND_RESERVED, 32)),
            *(Push(f.REG[2], 4, 4), Pop(f.REG[3], 4, 8)),
        ),
    ),
    "table=4,priority=1,metadata=0x5/0xf,actions=push_vlan:0x8100,set_field:0x1007->vlan_vid,"
    "write_metadata:0x1/0xff": FlowMod(
        4,
        1,
        Match.of(f.METADATA.masked(5, 0xF)),
        (*apply(PushVlan(), SetField(f.vlan(7))), WriteMetadata(1, 0xFF)),
    ),
    "table=4,priority=2,tun_id=0x10,tun_src=192.0.2.9,actions=group:1": FlowMod(
        4, 2, Match.of(f.TUNNEL_ID(16), f.TUN_SRC(0xC0000209)), apply(ToGroup(1))
    ),
    "table=4,priority=3,mpls,mpls_bos=0,actions=dec_mpls_ttl,pop_mpls:0x8847,output:2": FlowMod(
        4, 3, Match.of(MPLS, f.MPLS_BOS(0)), apply(DEC_MPLS_TTL, PopMpls(ETH_MPLS), Output(2))
    ),
    "table=4,priority=4,ip,nw_src=10.1.0.0/16,actions=mod_nw_ttl:9,resubmit(8,3)": FlowMod(
        4, 4, Match.of(IPV4, f.IPV4_SRC.prefix(0x0A010000, 16)), apply(SetTtl(9), Resubmit(3, 8))
    ),
    "table=5,idle_timeout=60,hard_timeout=90,importance=7,send_flow_rem,priority=1,actions=drop": FlowMod(
        5, 1, flags=FlowFlags.SEND_FLOW_REMOVED, idle_timeout=60, hard_timeout=90, importance=7
    ),
    "table=6,priority=0,xreg1=0x100000002,reg5=0x10/0xf0,actions=drop": FlowMod(
        6, 0, Match.of(f.XREG[1](0x1_0000_0002), f.REG[5].masked(0x10, 0xF0))
    ),
}
GROUPS: dict[str, GroupMod] = {
    "group_id=1,type=select,selection_method=dp_hash,bucket=bucket_id:1,weight:1,actions=output:1,"
    "bucket=bucket_id:2,weight:3,actions=output:2": GroupMod(
        1, GroupType.SELECT, (Bucket(1, (Output(1),)), Bucket(2, (Output(2),), 3)), DP_HASH
    ),
    "group_id=2,type=select,selection_method=hash,selection_method_param=7,fields(ip_dst,tcp_dst=0xff),"
    "bucket=bucket_id:0,weight:1,actions=set_field:5->reg1,output:1": GroupMod(
        2,
        GroupType.SELECT,
        (Bucket(0, (SetField(f.REG[1](5)), Output(1))),),
        Selection.hashing(f.IPV4_DST.whole(), f.TCP_DST(0xFF), parameter=7),
    ),
    "group_id=3,type=all,bucket=bucket_id:5,actions=output:1,bucket=bucket_id:4,actions=output:2": GroupMod(
        3, GroupType.ALL, (Bucket(5, (Output(1),)), Bucket(4, (Output(2),)))
    ),
    "group_id=4,type=indirect,bucket=bucket_id:0,actions=output:1": GroupMod(
        4, GroupType.INDIRECT, (Bucket(0, (Output(1),)),)
    ),
    "group_id=5,type=ff,bucket=bucket_id:0,watch_port:1,actions=output:1,"
    "bucket=bucket_id:1,watch_group:4,actions=group:4": GroupMod(
        5,
        GroupType.FAST_FAILOVER,
        (Bucket(0, (Output(1),), watch_port=1), Bucket(1, (ToGroup(4),), watch_group=4)),
    ),
}


@pytest.fixture(scope="module")
def ovs() -> Iterator[OpenVSwitch]:
    with tempfile.TemporaryDirectory(prefix="ovso-") as directory, OpenVSwitch(Path(directory)) as made:
        made.add_bridge("ours")
        made.add_bridge("theirs")
        yield made


class Told:
    """What a bridge told of."""

    def __init__(self) -> None:
        self.events: list[BridgeEvent] = []

    def of(self, kind: type[BridgeEvent]) -> list[BridgeEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def touched(self) -> list[FlowUpdate]:
        return [update for event in self.events if isinstance(event, Touched) for update in event.updates]

    async def until(self, is_met: Callable[[], object], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not is_met():
            assert time.monotonic() < end, f"not within {seconds} s; told: {self.events}"
            await asyncio.sleep(0.01)


def scenario(
    ovs: OpenVSwitch, play: Callable[[Bridge, Told], Coroutine[None, None, None]], *, watch: Ours | None = None
) -> None:
    """Play a scenario on an empty bridge."""

    async def run() -> None:
        told = Told()
        async with Bridge(ovs.target("ours"), listener=told.events.append, watch=watch, timing=QUICK) as bridge:
            await bridge.wait_connected(10)
            await play(bridge, told)

    for bridge in ("ours", "theirs"):
        ovs.ofctl("del-flows", bridge)
        ovs.ofctl("del-groups", bridge)
    asyncio.run(run())


def shown(ovs: OpenVSwitch, bridge: str) -> tuple[list[str], list[str]]:
    """The flows and groups of a bridge as ovs-ofctl shows them."""
    flows = ovs.ofctl("dump-flows", bridge, "--no-stats", "--no-names").splitlines()
    groups = ovs.ofctl("dump-groups", bridge, "--no-names").splitlines()[1:]
    return sorted(flows), sorted(groups)


@pytest.mark.parametrize("atomic", [True, False], ids=["together", "each"])
def test_what_is_written_here_and_by_ovs_ofctl_is_shown_alike_and_read_back_as_it_was_written(
    ovs: OpenVSwitch, atomic: bool
) -> None:
    changes = [*GROUPS.values(), *FLOWS.values()]

    async def play(bridge: Bridge, told: Told) -> None:
        # The fast failover group watches group 4, so they go in the order of their numbers.
        (await bridge.apply(changes, atomic=atomic)).check()
        for line in GROUPS:
            ovs.ofctl("add-group", "theirs", line)
        for line in FLOWS:
            ovs.ofctl("add-flow", "theirs", line)

        ours, theirs = shown(ovs, "ours"), shown(ovs, "theirs")
        assert ours == theirs
        assert (len(ours[0]), len(ours[1])) == (len(FLOWS), len(GROUPS))

        flows, groups = await bridge.flows(), await bridge.groups()
        assert {entry.as_addition for entry in flows} == set(FLOWS.values())
        assert {entry.as_addition for entry in groups} == set(GROUPS.values())

    scenario(ovs, play)


def test_what_others_wrote_is_read_as_what_it_is(ovs: OpenVSwitch) -> None:
    async def play(bridge: Bridge, told: Told) -> None:
        for line in GROUPS:
            ovs.ofctl("add-group", "ours", line)
        for line in FLOWS:
            ovs.ofctl("add-flow", "ours", line)
        assert {entry.as_addition for entry in await bridge.flows()} == set(FLOWS.values())
        assert {entry.as_addition for entry in await bridge.groups()} == set(GROUPS.values())
        references = {one.group: one.references for one in await bridge.group_statistics()}
        assert references == {1: 1, 2: 0, 3: 0, 4: 0, 5: 0}

    scenario(ovs, play)


def test_flows_are_asked_for_by_cookie_table_and_match(ovs: OpenVSwitch) -> None:
    mods = [
        FlowMod(table, priority, Match.of(IPV4, f.IPV4_DST(0x0A000000 + priority)), cookie=cookie)
        for table, priority, cookie in ((0, 1, OURS.cookie | 1), (1, 2, OURS.cookie | 2), (1, 3, 7))
    ]

    async def play(bridge: Bridge, told: Told) -> None:
        (await bridge.apply(mods)).check()
        for query, wanted in (
            ({"ours": OURS}, {1, 2}),
            ({"table": 1}, {2, 3}),
            ({"match": Match.of(IPV4, f.IPV4_DST.prefix(0x0A000002, 31))}, {2, 3}),
            ({"ours": OURS, "table": 1}, {2}),
        ):
            assert {entry.priority for entry in await bridge.flows(**query)} == wanted  # type: ignore[arg-type]

        (await bridge.apply([FlowMod.deletion(OURS.cookie, OURS.mask)])).check()
        assert {entry.priority for entry in await bridge.flows()} == {3}
        (await bridge.apply([mods[2].removal()])).check()
        assert await bridge.flows() == []

    scenario(ovs, play)


def refused_and_not() -> list[FlowMod]:
    good = [FlowMod(0, number, Match.of(f.IN_PORT(number))) for number in (1, 2, 3)]
    lacks_prerequisite = FlowMod(0, 9, Match.of(f.IPV4_DST(1)))
    no_such_group = FlowMod(0, 8, instructions=apply(ToGroup(999)))
    return [good[0], lacks_prerequisite, good[1], no_such_group, good[2]]


def test_of_messages_that_are_done_each_by_itself_only_the_refused_are_not_done(ovs: OpenVSwitch) -> None:
    changes = refused_and_not()

    async def play(bridge: Bridge, told: Told) -> None:
        result = await bridge.apply(changes, atomic=False)
        assert {place: error.name for place, error in result.refusals.items()} == {
            1: "OFPBMC_BAD_PREREQ",
            3: "OFPBAC_BAD_OUT_GROUP",
        }
        assert [result.fate(place) for place in range(5)] == [
            *(Fate.APPLIED, Fate.REFUSED, Fate.APPLIED, Fate.REFUSED, Fate.APPLIED),
        ]
        assert {entry.priority for entry in await bridge.flows()} == {1, 2, 3}

    scenario(ovs, play)


def test_of_messages_that_are_done_together_none_is_done_if_one_is_refused(ovs: OpenVSwitch) -> None:
    changes = refused_and_not()

    async def play(bridge: Bridge, told: Told) -> None:
        result = await bridge.apply(changes)
        assert {place: error.name for place, error in result.refusals.items()} == {1: "OFPBMC_BAD_PREREQ"}
        assert result.fate(0) is Fate.UNDONE
        assert await bridge.flows() == []

        # A refusal that comes only when the bundle is committed finds its message as well.
        late = [changes[0], *changes[2:]]
        result = await bridge.apply(late)
        assert {place: error.name for place, error in result.refusals.items()} == {2: "OFPBAC_BAD_OUT_GROUP"}
        assert await bridge.flows() == []

        (await bridge.apply([changes[0], changes[2]])).check()
        assert {entry.priority for entry in await bridge.flows()} == {1, 2}

    scenario(ovs, play)


def test_two_batches_at_once_are_both_done_and_keep_their_own_refusals(ovs: OpenVSwitch) -> None:
    async def play(bridge: Bridge, told: Told) -> None:
        first = [FlowMod(0, number, Match.of(f.IN_PORT(number))) for number in range(1, 2001)]
        second = [FlowMod(1, number, Match.of(f.IN_PORT(number))) for number in range(1, 2001)]
        second[500] = FlowMod(1, 501, Match.of(f.IPV4_DST(1)))
        one, other = await asyncio.gather(bridge.apply(first), bridge.apply(second, atomic=False))
        assert one.refusals == {}
        assert list(other.refusals) == [500]
        flows = await bridge.flows()
        assert sum(entry.table == 0 for entry in flows) == 2000
        assert sum(entry.table == 1 for entry in flows) == 1999

    scenario(ovs, play)


def test_ten_thousand_flows_in_one_bundle_are_read_back_as_they_were_written(ovs: OpenVSwitch) -> None:
    mods = [
        FlowMod(
            2,
            100,
            Match.of(f.REG[0](1 + number // 1000), IPV4, f.IPV4_DST(0x0A000000 + number)),
            apply(DEC_TTL, PushMpls(), SetField(f.MPLS_LABEL(16 + number)), Output(1)),
            cookie=OURS.cookie | number,
        )
        for number in range(10_000)
    ]

    async def play(bridge: Bridge, told: Told) -> None:
        (await bridge.apply(mods)).check()
        read = await bridge.flows(OURS)
        assert len(read) == len(mods)
        assert {entry.as_addition for entry in read} == set(mods)
        assert ovs.ofctl("dump-aggregate", "ours").split("flow_count=")[1].strip() == "10000"

    scenario(ovs, play)


def test_what_others_do_to_our_flows_is_told_and_what_we_do_is_not(ovs: OpenVSwitch) -> None:
    mine = FlowMod(0, 5, Match.of(f.IN_PORT(5)), apply(Output(1)), cookie=OURS.cookie | 5)
    foreign = FlowMod(0, 6, Match.of(f.IN_PORT(6)), apply(Output(1)), cookie=6)

    async def play(bridge: Bridge, told: Told) -> None:
        (await bridge.apply([mine, foreign])).check()
        await asyncio.sleep(0.1)
        assert told.touched == []

        ovs.ofctl("mod-flows", "ours", "in_port=6,actions=output:2")
        ovs.ofctl("mod-flows", "ours", "in_port=5,actions=output:2")
        ovs.ofctl("del-flows", "ours", "in_port=5")
        await told.until(lambda: len(told.touched) == 2)
        assert [(one.event, one.priority, one.match) for one in told.touched] == [
            (FlowEvent.MODIFIED, 5, mine.match),
            (FlowEvent.REMOVED, 5, mine.match),
        ]

    scenario(ovs, play, watch=OURS)


def test_a_group_that_others_delete_is_told_of_by_the_flows_that_go_with_it(ovs: OpenVSwitch) -> None:
    group = GroupMod(9, GroupType.ALL, (Bucket(0, (Output(1),)),))
    flow = FlowMod(0, 5, Match.of(f.IN_PORT(5)), apply(ToGroup(9)), cookie=OURS.cookie)

    async def play(bridge: Bridge, told: Told) -> None:
        (await bridge.apply([group, flow])).check()
        ovs.ofctl("del-groups", "ours", "group_id=9")
        await told.until(lambda: told.touched)
        assert [(one.event, one.match) for one in told.touched] == [(FlowEvent.REMOVED, flow.match)]

    scenario(ovs, play, watch=OURS)


def test_a_vswitchd_that_restarts_is_connected_to_again_and_holds_nothing(ovs: OpenVSwitch) -> None:
    mod = FlowMod(0, 5, Match.of(f.IN_PORT(5)), cookie=OURS.cookie)

    async def play(bridge: Bridge, told: Told) -> None:
        (await bridge.apply([mod])).check()

        ovs.stop_switch()
        await told.until(lambda: told.of(Disconnected))
        assert not bridge.is_connected
        with pytest.raises(Unreachable, match="not connected"):
            await bridge.apply([mod])
        with pytest.raises(Unreachable):
            await bridge.flows()

        ovs.start_switch()
        await told.until(lambda: len(told.of(Connected)) == 2)
        await bridge.wait_connected(5)
        assert await bridge.flows() == []
        (await bridge.apply([mod])).check()
        assert [entry.as_addition for entry in await bridge.flows()] == [mod]
        await bridge.echo()

    scenario(ovs, play, watch=OURS)


def test_a_connection_that_is_lost_in_the_middle_of_a_batch_says_so(ovs: OpenVSwitch) -> None:
    mods = [FlowMod(0, number, Match.of(f.IN_PORT(number))) for number in range(1, 40_001)]

    async def play(bridge: Bridge, told: Told) -> None:
        batch = asyncio.create_task(bridge.apply(mods, atomic=False))
        await asyncio.sleep(0.02)
        ovs.stop_switch()
        with pytest.raises(Unreachable):
            await batch
        ovs.start_switch()
        await told.until(lambda: len(told.of(Connected)) == 2)
        assert await bridge.flows() == []

    scenario(ovs, play)


def test_a_bridge_that_is_not_there_at_start_is_waited_for(ovs: OpenVSwitch) -> None:
    async def play() -> None:
        told = Told()
        async with Bridge(ovs.target("later"), listener=told.events.append, timing=QUICK) as bridge:
            with pytest.raises(Unreachable, match=r"later.mgmt: No such file or directory") as raised:
                await bridge.wait_connected(0.3)
            assert not isinstance(raised.value, NoAnswer)
            assert bridge.fault is raised.value
            await asyncio.to_thread(ovs.add_bridge, "later")
            await bridge.wait_connected(5)
            assert [type(event) for event in told.events[-2:]] == [Disconnected, Connected]
            assert await bridge.flows() == []

    asyncio.run(play())
    ovs.vsctl("del-br", "later")
