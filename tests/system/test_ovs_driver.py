"""Records to flows and groups on a real Open vSwitch without devices: what it shows is what counts."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from bagpipe.dataplane.driver import Again, Gone
from bagpipe.dataplane.errors import Unreachable
from bagpipe.dataplane.model import (
    Access,
    AccessKey,
    Classifier,
    Delivery,
    DeliveryKey,
    Encapsulation,
    Fallback,
    FallbackKey,
    ForwardKey,
    Key,
    Local,
    Port,
    Ports,
    Remote,
    SourceKey,
    Steer,
    SteerKey,
    Value,
)
from bagpipe.dataplane.ovs.settings import ANY_GRE, OvsSettings
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress
from tests.system.openvswitch import OpenVSwitch
from tests.system.ovs_driving import Driven, driving, prefix

BRIDGE = "br-mpls"
MAC = MacAddress(bytes.fromhex("020000000001"))
OTHER_MAC = MacAddress(bytes.fromhex("020000000002"))
TAP1, TAP2 = Port("tap1"), Port("tap2", vlan=5)
PE1, PE2 = (ip_address(text).packed for text in ("192.0.2.2", "192.0.2.3"))
GRE, VXLAN = Encapsulation.MPLS_GRE, Encapsulation.VXLAN
OTHERS_FLOWS = [
    "cookie=0x1, priority=0 actions=NORMAL",
    "cookie=0x2, table=2, priority=36768,ip,reg0=0x9,nw_dst=10.0.0.1 actions=drop",
]
OTHERS_GROUP = "group_id=7,type=all,bucket=bucket_id:0,actions=output:1"

RECORDS: dict[Key, Value] = {
    SourceKey(PE1): True,
    AccessKey(TAP1): Access(1, (ip_address("10.0.0.254"), ip_address("fd00::1"))),
    AccessKey(TAP2): Access(2, (ip_address("10.0.0.254"),)),
    DeliveryKey(100): Delivery(1, TAP1, MAC, 4),
    DeliveryKey(101): Delivery(1, TAP1, MAC, 6),
    DeliveryKey(102): Delivery(2, TAP2, OTHER_MAC, 4),
    DeliveryKey(103): Delivery(2, None, None, 4),
    ForwardKey(1, prefix("10.0.0.1/32")): (Local(TAP1, MAC),),
    ForwardKey(2, prefix("10.0.0.1/32")): (Local(TAP2, OTHER_MAC),),
    ForwardKey(1, prefix("10.1.0.0/16")): (Remote(PE1, 200, GRE),),
    ForwardKey(1, prefix("10.2.0.0/17")): (Remote(PE1, 201, VXLAN),),
    ForwardKey(1, prefix("0.0.0.0/0")): (Remote(PE1, 202, GRE), Remote(PE2, 203, GRE)),
    ForwardKey(2, prefix("10.3.0.0/16")): (Remote(PE1, 202, GRE), Remote(PE2, 203, GRE)),
    ForwardKey(2, prefix("10.4.0.0/16")): (Remote(PE1, 204, GRE, 3), Remote(PE2, 205, VXLAN, 3), Local(TAP1, MAC, 9)),
    ForwardKey(1, prefix("fd00:1::/64")): (Remote(PE1, 206, GRE),),
    ForwardKey(1, prefix("fd00:1::1/128")): (Local(TAP1, MAC),),
    ForwardKey(1, prefix("::/0")): (Remote(PE2, 207, VXLAN), Remote(PE1, 208, VXLAN)),
    FallbackKey(1): Fallback(MAC, OTHER_MAC, 9, 7),
    SteerKey(1, Classifier(4, None, prefix("10.2.0.0/16"), 6, None, Ports(80, 90))): Steer(2),
    SteerKey(1, Classifier(6, prefix("fd00:2::/48"), None)): Steer(2),
}


@pytest.fixture(scope="module")
def switch() -> Iterator[OpenVSwitch]:
    with tempfile.TemporaryDirectory(prefix="ovsd-") as directory, OpenVSwitch(Path(directory)) as ovs:
        yield ovs


@pytest.fixture
def ovs(switch: OpenVSwitch) -> Iterator[OpenVSwitch]:
    """A bridge with the ports tap1 and tap2, and with flows and a group of somebody else."""
    switch.add_bridge(BRIDGE)
    for number, name in enumerate(("tap1", "tap2"), 1):
        plug(switch, name, number)
    for flow in OTHERS_FLOWS:
        switch.ofctl("add-flow", BRIDGE, flow.replace(" actions", ",actions"))
    switch.ofctl("add-group", BRIDGE, OTHERS_GROUP)
    yield switch
    switch.vsctl("del-br", BRIDGE)


def plug(ovs: OpenVSwitch, name: str, number: int) -> None:
    made = f"add-port {BRIDGE} {name} -- set interface {name} type=dummy ofport_request={number}"
    ovs.vsctl(*made.split())


def settings(ovs: OpenVSwitch, **more: object) -> OvsSettings:
    plain = OvsSettings(
        ip_address("192.0.2.1"),
        database=f"unix:{ovs.directory}/db.sock",
        run_directory=str(ovs.directory),
        mpls_interface=ANY_GRE,
        tunnel_options=(("packet_type", "legacy_l3"),),
        vxlan_encap=True,
        arp_responder=True,
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def flows(ovs: OpenVSwitch) -> list[str]:
    shown = ovs.ofctl("dump-flows", BRIDGE, "--no-stats").splitlines()
    return sorted(line.strip() for line in shown if "actions=" in line)


def our_flows(ovs: OpenVSwitch) -> list[str]:
    return [line for line in flows(ovs) if "cookie=0xba60" in line]


def groups(ovs: OpenVSwitch) -> list[str]:
    return sorted(line.strip() for line in ovs.ofctl("dump-groups", BRIDGE).splitlines()[1:] if line.strip())


def dump(ovs: OpenVSwitch) -> tuple[list[str], list[str]]:
    return flows(ovs), groups(ovs)


def ages(ovs: OpenVSwitch) -> dict[str, float]:
    """How old each flow of ours is, in seconds, by its text without statistics."""
    found = {}
    for line in ovs.ofctl("dump-flows", BRIDGE).splitlines():
        age = re.search(r"duration=([\d.]+)s", line)
        if age is not None and "cookie=0xba60" in line:
            found[re.sub(r"(duration|n_packets|n_bytes|idle_age)=[\d.]+s?, ", "", line)] = float(age.group(1))
    return found


def test_each_record_becomes_the_flows_that_the_pipeline_says(ovs: OpenVSwitch) -> None:
    async def scenario() -> None:
        async with driving(settings(ovs)) as driven:
            await driven.want(RECORDS)
            assert driven.refused == {}

    asyncio.run(scenario())
    shown = "\n".join(our_flows(ovs))
    gre, vxlan = (ovs.vsctl("get", "interface", name, "ofport").strip() for name in ("mpls_gre", "vxlan"))
    one, two = "cookie=0xba60000000000001", "cookie=0xba60000000000002"
    deliver = "set_field:00:00:5e:00:43:64->eth_src,set_field:{}->eth_dst"
    for line in (
        f"{one}, priority=36864,in_port=1,vlan_tci=0x0000/0x1fff actions=set_field:0->in_port,set_field:0x1->reg0,"
        "resubmit(,2)",
        f"{two}, priority=36864,in_port=2,dl_vlan=5 actions=pop_vlan,set_field:0->in_port,set_field:0x2->reg0,"
        "resubmit(,2)",
        f"cookie=0xba60000000000000, priority=36864,tun_src=192.0.2.2,in_port={gre} actions=resubmit(,1)",
        f"cookie=0xba60000000000000, priority=36860,in_port={gre} actions=drop",
        f"{one}, table=1, priority=36864,mpls,in_port={gre},mpls_label=101,mpls_bos=1 actions=pop_mpls:0x86dd,"
        f"{deliver.format(MAC)},output:1",
        f"{two}, table=1, priority=36864,mpls,in_port={gre},mpls_label=102,mpls_bos=1 actions=pop_mpls:0x0800,"
        f"{deliver.format(OTHER_MAC)},push_vlan:0x8100,set_field:4101->vlan_vid,output:2",
        f"{two}, table=1, priority=36864,ip,tun_id=0x67,in_port={vxlan} actions=set_field:0->in_port,"
        "set_field:0x2->reg0,resubmit(,2)",
        f"{one}, table=2, priority=36768,ip,reg0=0x1,nw_dst=10.0.0.1 actions=dec_ttl,{deliver.format(MAC)},output:1",
        f"{one}, table=2, priority=36752,ip,reg0=0x1,nw_dst=10.1.0.0/16 actions=dec_ttl,push_mpls:0x8847,"
        f"set_field:200->mpls_label,set_field:192.0.2.2->tun_dst,output:{gre}",
        f"{one}, table=2, priority=36753,ip,reg0=0x1,nw_dst=10.2.0.0/17 actions=dec_ttl,set_field:0xc9->tun_id,"
        "set_field:192.0.2.2->tun_dst,set_field:00:00:5e:00:43:64->eth_src,set_field:00:00:5e:00:43:64->eth_dst,"
        f"output:{vxlan}",
        f"{one}, table=2, priority=36864,ipv6,reg0=0x1,ipv6_dst=fd00:1::1 actions=dec_ttl,{deliver.format(MAC)},"
        "output:1",
        f"{one}, table=2, priority=36608,reg0=0x1 actions=set_field:{MAC}->eth_src,set_field:{OTHER_MAC}->eth_dst,"
        "push_vlan:0x8100,set_field:4103->vlan_vid,output:9",
    ):
        assert line in shown, f"{line}\nis not in\n{shown}"
    # One flow for each VRF and prefix; equal sets of next hops share a group, and others' are as they were.
    assert sum("table=2, priority=367" in line or "table=2, priority=368" in line for line in our_flows(ovs)) == 10
    assert len(groups(ovs)) == 4 and any(line.startswith("group_id=7,") for line in groups(ovs))
    to_group = [re.search(r"group:(\d+)", line) for line in our_flows(ovs)]
    used = sorted(int(one.group(1)) for one in to_group if one)
    assert len(used) == 4 and len(set(used)) == 3
    assert all(one in flows(ovs) for one in OTHERS_FLOWS)


def test_buckets_have_the_numbers_that_their_routes_ask_for_where_they_are_free(ovs: OpenVSwitch) -> None:
    async def scenario() -> None:
        chosen = settings(ovs, hash_method="hash", hash_fields=("ip_src", "ip_dst"), hash_method_param=5)
        async with driving(chosen) as driven:
            await driven.want(RECORDS)

    asyncio.run(scenario())
    (line,) = (line for line in groups(ovs) if "set_field:204->mpls_label" in line)
    assert re.findall(r"bucket_id:(\d+)", line) == ["3", "0", "9"]
    assert "selection_method=hash,selection_method_param=5,fields(ip_src,ip_dst)" in line
    order = [line.index(text) for text in ("set_field:204->mpls_label", "set_field:0xcd->tun_id", "output:1")]
    assert order == sorted(order)


def test_neither_the_order_nor_the_batches_of_changes_are_seen_in_the_end(ovs: OpenVSwitch) -> None:
    async def scenario(seed: int) -> tuple[list[str], list[str]]:
        chance = random.Random(seed)
        async with driving(settings(ovs)) as driven:
            steps: list[tuple[Key, Value | None]] = list(RECORDS.items())
            if seed:
                # Removed and set again, or another value first: the last word counts.
                extra = chance.sample(list(RECORDS.items()), 8)
                steps = [(key, None) for key, _ in extra[:4]] + steps + list(RECORDS.items())
                chance.shuffle(steps)
                other = (Remote(PE2, 999, GRE), Remote(PE1, 998, GRE))
                steps = [(key, other) for key in RECORDS if isinstance(key, ForwardKey)] + steps
                steps += list(RECORDS.items())
            while steps:
                some = chance.randint(1, 7) if seed else len(steps)
                batch, steps = steps[:some], steps[some:]
                for key, value in batch:
                    await driven.want({key: value}) if seed == 1 else (
                        driven.tracker.remove(key) if value is None else driven.tracker.set(key, value)
                    )
                await driven.settle()
            assert driven.refused == {}
            end = dump(ovs)
            await (driven.driver.reset() if seed == 3 else driven.driver.adopt({}, sweep=True))
            return end

    first = asyncio.run(scenario(0))
    for seed in (1, 2, 3):
        assert asyncio.run(scenario(seed)) == first
    # The reset left what is not ours.
    assert (flows(ovs), groups(ovs)) == (sorted(OTHERS_FLOWS), [OTHERS_GROUP])


def test_a_restarted_daemon_takes_over_without_touching_a_flow(ovs: OpenVSwitch) -> None:
    async def scenario(wait: float) -> None:
        async with driving(settings(ovs)) as driven:
            for key, value in RECORDS.items():
                driven.tracker.set(key, value)
            driven.sweeps = True
            await driven.driver.adopt(driven.tracker.desired, sweep=True)
            await asyncio.sleep(wait)

    asyncio.run(scenario(1.0))
    before, shown = ages(ovs), dump(ovs)
    asyncio.run(scenario(0.2))
    after = ages(ovs)
    assert dump(ovs) == shown
    assert after.keys() == before.keys() and all(after[text] >= age + 0.2 for text, age in before.items())


def test_leftovers_stay_until_they_are_swept(ovs: OpenVSwitch) -> None:
    gone = [key for key in RECORDS if isinstance(key, ForwardKey) and key.instance == 2]
    left = {key: value for key, value in RECORDS.items() if key not in gone}

    async def scenario() -> None:
        async with driving(settings(ovs)) as driven:
            await driven.want(RECORDS)
        full = dump(ovs)
        async with driving(settings(ovs)) as driven:
            assert await driven.driver.adopt(left, sweep=False) == {}
            assert dump(ovs) == full
            extra = [difference for difference in await driven.driver.audit(left) if difference.kind == "extra"]
            # Three routes, and the group that only one of them used.
            assert len(extra) == 4
            assert await driven.driver.adopt(left, sweep=True) == {}
            assert await driven.driver.audit(left) == []
        assert not any("reg0=0x2," in line for line in our_flows(ovs))
        assert len(groups(ovs)) == 3
        assert all(one in flows(ovs) for one in OTHERS_FLOWS)

    asyncio.run(scenario())


def test_flows_and_groups_that_somebody_deletes_come_back(ovs: OpenVSwitch) -> None:
    async def scenario() -> None:
        async with driving(settings(ovs)) as driven:
            await driven.want(RECORDS)
            full = dump(ovs)
            for command, argument in (
                ("del-flows", "table=2,ip"),
                ("del-flows", "table=0,in_port=1"),
                ("del-flows", "cookie=0xba60000000000000/-1"),
                ("mod-flows", "table=1,mpls actions=drop"),
            ):
                await asyncio.to_thread(ovs.ofctl, command, BRIDGE, argument)
                await asyncio.to_thread(restore_others, ovs)
                await driven.until(lambda: dump(ovs) == full, f"all is back after {command} {argument}")
            for group in [line.split(",")[0] for line in full[1] if "group_id=7," not in line]:
                await asyncio.to_thread(ovs.ofctl, "del-groups", BRIDGE, group)
                await driven.until(lambda: dump(ovs) == full, f"{group} is back")
            assert any(isinstance(event, Again) for event in driven.said)
            assert await driven.driver.audit(RECORDS) == []

    asyncio.run(scenario())


def restore_others(ovs: OpenVSwitch) -> None:
    for flow in OTHERS_FLOWS:
        ovs.ofctl("add-flow", BRIDGE, flow.replace(" actions", ",actions"))


def test_everything_is_back_when_open_vswitch_was_restarted(ovs: OpenVSwitch) -> None:
    async def scenario() -> None:
        async with driving(settings(ovs)) as driven:
            await driven.want(RECORDS)
            ours = our_flows(ovs), [line for line in groups(ovs) if "group_id=7," not in line]
            ovs.stop_switch()
            await driven.until(lambda: isinstance(driven.said[-1], Gone), "the end is noticed")
            with pytest.raises(Unreachable):
                await driven.driver.apply([])
            ovs.start_switch()
            await driven.until(lambda: driven.is_ready, "the start is noticed")
            await driven.until(
                lambda: not driven.refused and not driven.tracker.has_changes and (our_flows(ovs), groups(ovs)) == ours,
                "all is back",
            )

    asyncio.run(scenario())


def test_what_the_switch_refuses_is_refused_alone(ovs: OpenVSwitch) -> None:
    bad = ForwardKey(1, prefix("10.66.0.0/16"))
    worse = DeliveryKey(166)
    shared = tuple(ForwardKey(1, prefix(f"10.{number}.0.0/16")) for number in (67, 68))
    reserved = Port("reserved", 0xFFFFFF17)

    async def scenario() -> None:
        async with driving(settings(ovs)) as driven:
            await driven.want(RECORDS)
            good = dump(ovs)
            # A port number that no port can have.
            local = Local(reserved, MAC)
            await driven.want(
                {
                    bad: (local,),
                    worse: Delivery(1, reserved, MAC, 4),
                    **{key: (local, Remote(PE1, 300, GRE)) for key in shared},
                    ForwardKey(1, prefix("10.69.0.0/16")): (Remote(PE1, 301, GRE),),
                }
            )
            assert driven.refused.keys() == {str(key) for key in (bad, worse, *shared)}
            assert all("OFPBAC_BAD_OUT_PORT" in reason for reason in driven.refused.values())
            (added,) = set(dump(ovs)[0]) - set(good[0])
            assert "nw_dst=10.69.0.0/16" in added and dump(ovs)[1] == good[1]
            # A record that was in effect and becomes one that is refused is not in effect either way.
            await driven.want({ForwardKey(1, prefix("10.69.0.0/16")): (local,)})
            assert dump(ovs) == good
            await driven.want(dict.fromkeys((bad, worse, *shared, ForwardKey(1, prefix("10.69.0.0/16")))))
            assert driven.refused == {} and dump(ovs) == good

    asyncio.run(scenario())


def test_a_full_table_costs_only_the_records_that_did_not_fit(ovs: OpenVSwitch) -> None:
    routes = {ForwardKey(3, prefix(f"10.70.{number}.0/24")): (Remote(PE1, 400, GRE),) for number in range(20)}

    async def scenario() -> None:
        async with driving(settings(ovs)) as driven:
            held = sum("table=2, " in line for line in flows(ovs))
            limit = f"-- --id=@t create flow_table flow_limit={held + 8} -- set bridge {BRIDGE} flow_tables:2=@t"
            ovs.vsctl(*limit.split())
            await driven.want(routes)
            assert len(driven.refused) == 12
            assert all("OFPFMFC_TABLE_FULL" in reason for reason in driven.refused.values())
            assert sum("reg0=0x3," in line for line in our_flows(ovs)) == 8
            ovs.vsctl("clear", "bridge", BRIDGE, "flow_tables")
            driven.tracker.retry()
            await driven.settle()
            assert driven.refused == {} and await driven.driver.audit(routes) == []

            # Records of two flows, of which only one fits for some, and routes whose group is made in vain.
            await driven.want(dict.fromkeys(routes))
            bare = dump(ovs)
            held = sum("table=1, " in line for line in bare[0])
            for table, size in ((1, held + 3), (2, sum("table=2, " in line for line in bare[0]))):
                limit = f"-- --id=@t create flow_table flow_limit={size} -- set bridge {BRIDGE} flow_tables:{table}=@t"
                ovs.vsctl(*limit.split())
            labels: dict[Key, Value] = {DeliveryKey(800 + number): Delivery(3, TAP1, MAC) for number in range(6)}
            several = {
                ForwardKey(3, prefix(f"10.71.{number}.0/24")): (Remote(PE1, 400, GRE), Remote(PE2, 401 + number, GRE))
                for number in range(6)
            }
            await driven.want(labels | several)
            assert len(driven.refused) == 11
            assert sum("table=1, " in line for line in flows(ovs)) == held + 2 and groups(ovs) == bare[1]
            await driven.want(dict.fromkeys(labels | several))
            assert driven.refused == {} and dump(ovs) == bare
            ovs.vsctl("clear", "bridge", BRIDGE, "flow_tables")

    asyncio.run(scenario())


def test_a_record_waits_for_its_port_and_follows_its_number(ovs: OpenVSwitch) -> None:
    key = AccessKey(Port("tap3"))
    route = ForwardKey(1, prefix("10.0.0.3/32"))

    async def scenario() -> None:
        async with driving(settings(ovs)) as driven:
            await driven.want({key: Access(1), route: (Local(key.port, MAC),)})
            assert driven.refused[str(key)] == "port tap3 is not on bridge br-mpls"
            assert (await driven.driver.carried(key, Access(1))).missing == ("port tap3 is not on bridge br-mpls",)
            plug(ovs, "tap3", 33)
            await driven.until(lambda: not driven.refused and not driven.tracker.has_changes, "the port is there")
            assert sum("in_port=33," in line for line in our_flows(ovs)) == 1
            assert any(line.endswith("output:33") for line in our_flows(ovs))
            # The port gets another number, as after a detach and an attach.
            ovs.vsctl("set", "interface", "tap3", "ofport_request=44")
            await driven.until(lambda: any("in_port=44," in line for line in our_flows(ovs)), "the new number is used")
            assert not any("in_port=33," in line or line.endswith("output:33") for line in our_flows(ovs))
            ovs.vsctl("del-port", "tap3")
            await driven.until(lambda: len(driven.refused) == 2, "the port's end is noticed")
            assert not any("in_port=44," in line or line.endswith("output:44") for line in our_flows(ovs))

    asyncio.run(scenario())


def test_two_records_never_share_a_place_on_the_bridge(ovs: OpenVSwitch) -> None:
    first, second = AccessKey(Port("one", 1)), AccessKey(Port("two", 1))

    async def scenario() -> None:
        async with driving(settings(ovs)) as driven:
            await driven.want({first: Access(1)})
            await driven.want({second: Access(2)})
            assert driven.refused == {str(second): f"{first} has the same place on the bridge"}
            # In one batch the one that goes makes room for the one that comes.
            driven.tracker.retry()
            await driven.want({first: None})
            assert driven.refused == {}
            (line,) = (line for line in our_flows(ovs) if "in_port=1," in line)
            assert "set_field:0x2->reg0" in line

    asyncio.run(scenario())


def test_the_driver_waits_for_open_vswitch_and_for_the_bridge_and_says_so() -> None:
    async def scenario(directory: Path) -> None:
        nowhere = replace(
            OvsSettings(ip_address("192.0.2.1"), vxlan_encap=True),
            database=f"unix:{directory}/db.sock",
            run_directory=str(directory),
        )
        async with driving(nowhere, ready=False) as driven:
            await driven.until(lambda: bool(driven.said), "it is said")
            assert isinstance(driven.said[-1], Gone) and "db.sock" in driven.said[-1].why
            with pytest.raises(Unreachable):
                await driven.driver.apply([])
            with OpenVSwitch(directory) as ovs:
                await driven.until(lambda: "br-mpls" in why(driven), "the missing bridge is named")
                assert why(driven) == "bridge br-mpls does not exist"
                await asyncio.to_thread(ovs.add_bridge, BRIDGE)
                await driven.until(lambda: driven.is_ready, "the bridge is there")

    with tempfile.TemporaryDirectory(prefix="ovsd-") as directory:
        asyncio.run(scenario(Path(directory)))


def why(driven: Driven) -> str:
    last = driven.said[-1]
    return last.why if isinstance(last, Gone) else ""


def test_a_port_that_nobody_else_plugs_is_plugged_and_unplugged(ovs: OpenVSwitch) -> None:
    port = Port("ovsnet0", plugged=False)
    records: dict[Key, Value] = {
        AccessKey(port): Access(1),
        DeliveryKey(100): Delivery(1, port, MAC, 4),
        ForwardKey(1, prefix("10.0.0.1/32")): (Local(port, MAC),),
    }

    async def scenario() -> None:
        async with driving(settings(ovs)) as driven:
            await driven.want(records)
            assert driven.refused == {}
            assert "ovsnet0" in ovs.vsctl("list-ports", BRIDGE)
            await driven.want({AccessKey(port): None})
            assert "ovsnet0" in ovs.vsctl("list-ports", BRIDGE)
            await driven.want(dict.fromkeys(records))
            assert "ovsnet0" not in ovs.vsctl("list-ports", BRIDGE)
            assert "tap1" in ovs.vsctl("list-ports", BRIDGE)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("mpls_interface", {"mpls_interface": None, "mpls_over_gre": False}),
        ("mpls_over_gre", {"mpls_over_gre": False}),
        ("input_table", {"input_table": 3, "first_table": 2}),
        ("hash_fields", {"hash_method": "hash", "hash_fields": ("colour",)}),
        ("hash_fields", {"hash_fields": ("ip_src",)}),
        ("hash_method", {"hash_method": "dice"}),
        ("vxlan_port", {"vxlan_port": 0}),
        ("ovs_bridge", {"bridge": "a/b"}),
    ],
)
def test_settings_that_can_never_work_are_named(field: str, given: dict[str, object]) -> None:
    plain = OvsSettings(ip_address("192.0.2.1"), mpls_interface=ANY_GRE)
    with pytest.raises(LocalMisuse) as raised:
        replace(plain, **given)  # type: ignore[arg-type]
    assert raised.value.field == field


def test_gre_is_off_when_the_operator_says_so() -> None:
    off = OvsSettings(ip_address("192.0.2.1"), mpls_interface="eth0", mpls_over_gre=False)
    assert off.encapsulations == (Encapsulation.MPLS,)
    assert replace(off, mpls_over_gre=True).encapsulations == (Encapsulation.MPLS_GRE,)
    assert replace(off, mpls_over_gre=None, vxlan_encap=True).encapsulations == (Encapsulation.MPLS, VXLAN)


def test_labels_get_ports_of_their_own_while_a_tunnel_of_neutron_would_take_our_packets(
    ovs: OpenVSwitch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    # given Neutron's tunnel to another node, with our local address and the UDP port that everybody has
    tunnel = "type=vxlan options:local_ip=192.0.2.1 options:remote_ip=192.0.2.2 options:key=flow options:in_key=flow"
    ovs.add_bridge("br-tun")
    ovs.vsctl(*f"add-port br-tun vxlan-c0000202 -- set interface vxlan-c0000202 {tunnel}".split())

    async def made_with(**more: object) -> tuple[object, bool]:
        async with driving(settings(ovs, **more), sweeps=True) as driven:
            await driven.until(lambda: driven.is_ready, "the driver is ready")
            await driven.want({DeliveryKey(600_000): Delivery(1, TAP1, MAC, 4)})
            assert driven.refused == {}
            carried = await driven.driver.carried(DeliveryKey(600_000), Delivery(1, TAP1, MAC, 4))
            assert carried.missing == ()
            return driven.driver.overview()["vxlan_beside"], "vxlan-600000" in ovs.vsctl("list-ports", BRIDGE).split()

    try:
        # when our tunnels have the same port, then labels have ports; when they have one of their own, none has
        assert asyncio.run(made_with()) == (["vxlan-c0000202 of br-tun"], True)
        assert "vxlan-c0000202 of br-tun: each label gets a port of its own" in caplog.text
        assert asyncio.run(made_with(vxlan_port=4790)) == ([], False)
    finally:
        ovs.vsctl("del-br", "br-tun")


def test_a_label_that_is_a_vni_of_neutron_is_refused_and_takes_nothing_from_it(ovs: OpenVSwitch) -> None:
    # given a tunnel of Neutron, and a port in a network with a VNI, as Neutron's agent notes it
    tunnel = "type=vxlan options:local_ip=192.0.2.1 options:remote_ip=192.0.2.2 options:key=flow options:in_key=flow"
    ovs.add_bridge("br-tun")
    ovs.vsctl(*f"add-port br-tun vxlan-c0000202 -- set interface vxlan-c0000202 {tunnel}".split())
    noted = "other_config:network_type=vxlan other_config:segmentation_id=600001 other_config:tag=7"
    delivery = Delivery(1, TAP1, MAC, 4)

    async def scenario() -> None:
        async with driving(settings(ovs)) as driven:
            await driven.until(lambda: driven.is_ready, "the driver is ready")
            await driven.want({DeliveryKey(600_000): delivery, DeliveryKey(600_001): delivery})
            assert driven.refused == {} and len(label_ports(ovs)) == 2
            # when a network of Neutron with the VNI of a label comes, then the port of that label goes, and it is said
            ovs.vsctl(*f"set port br-tun {noted}".split())
            await driven.until(lambda: bool(driven.refused), "the label is refused")
            ((what, reason),) = driven.refused.items()
            assert what == "delivery of label 600001"
            assert "600001" in reason and "vxlan_label_range" in reason and "vni_ranges" in reason
            assert label_ports(ovs) == {"vxlan-600000"}
            assert driven.driver.overview()["warnings"] == [reason]
            # when the network is gone, then the label works again
            ovs.vsctl("clear", "port", "br-tun", "other_config")
            await driven.until(lambda: not driven.refused, "the label is taken")
            assert len(label_ports(ovs)) == 2
            # when all of the driver's is removed, then the ports are too
            await driven.driver.reset()
            assert label_ports(ovs) == set()

    try:
        asyncio.run(scenario())
    finally:
        ovs.vsctl("del-br", "br-tun")


def label_ports(ovs: OpenVSwitch) -> set[str]:
    return {name for name in ovs.vsctl("list-ports", BRIDGE).split() if re.fullmatch(r"vxlan-\d+", name)}
