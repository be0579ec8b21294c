"""Flows of others in the daemon's tables, such as networking-bagpipe leaves behind: told of, and left alone."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.openvswitch import OpenVSwitch
from tests.system.running import CLI, address, run
from tests.system.test_attach_open_vswitch import BRIDGE, Host, at

NORMAL = "cookie=0x0,priority=0,actions=NORMAL"
"""What a bridge has that nobody has told anything."""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A daemon on a real bridge, with 10.0.0.2 at tap2 and 10.0.0.3 at tap3 in the one VPN, and a neighbour that is
    not up and may send packets.
    """
    with tempfile.TemporaryDirectory(prefix="ovs", dir="/tmp") as folder, OpenVSwitch(Path(folder)) as ovs:
        ovs.add_bridge(BRIDGE)
        ovs.ofctl("add-flow", BRIDGE, NORMAL)
        made = Host(ovs, Path(folder))
        neighbour = f"my_as=64512\npeers={address(4)}\n"
        made.node.file.write_text(made.node.file.read_text().replace("my_as=64512\n", neighbour))
        for name in ("tap2", "tap3"):
            made.plug(name)
        with made.node.start() as daemon:
            daemon.wait_started()
            for one in (2, 3):
                assert made.node.attach(at(one)) == (200, None)
            yield made


@pytest.fixture(autouse=True)
def only_others_flow_is_normal(host: Host) -> Iterator[None]:
    yield
    host.ovs.ofctl("del-flows", BRIDGE, "cookie=0x5/-1")
    host.ovs.ofctl("del-groups", BRIDGE, "group_id=7")


def add(host: Host, flow: str) -> None:
    """Add a flow with the cookie 5; names in braces are numbers of ports, the VRF's and the label of 10.0.0.3."""
    instance = host.node.call("GET", "/v2/instances")[1]["instances"][0]["id"]
    told = host.node.call("GET", f"/v2/instances/{instance}")[1]
    label = next(one["label"] for one in told["endpoints"] if one["ip_address"].startswith("10.0.0.3"))
    ports = {name: number(host, name) for name in ("tap2", "tap3", "mpls_gre")}
    flow = flow.format(vrf=explained(host, "10.0.0.3")["number"], label=label, other=label + 100, **ports)
    host.ovs.ofctl("add-flow", BRIDGE, f"cookie=0x5,{flow}")


def number(host: Host, port: str) -> int:
    return int(host.ovs.vsctl("get", "interface", port, "ofport"))


def explained(host: Host, destination: str) -> dict[str, Any]:
    instance = host.node.call("GET", "/v2/instances")[1]["instances"][0]["id"]
    status, told = host.node.call("GET", f"/v2/explain?instance={instance}&destination={destination}")
    assert status == 200
    return dict(told)


def bagpipe(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(CLI, "--server", f"http://127.0.0.1:{host.node.port}", *arguments)


LEFT_BY_THE_REFERENCE = {
    "table=0,priority=36864,mpls,in_port={mpls_gre},actions=resubmit(,1)": "before",
    "table=0,priority=36864,ip,in_port={tap2},actions=set_field:9->reg0,resubmit(,2)": "before",
    "table=1,priority=36864,mpls,mpls_label={label},mpls_bos=1,actions=pop_mpls:0x0800,output:{tap2}": "before",
    "table=1,priority=36864,mpls,mpls_label={other},mpls_bos=1,actions=pop_mpls:0x0800,output:{tap2}": "beside",
    "table=2,priority=36768,ip,reg0=0x9,nw_dst=10.0.0.3,actions=group:7": "beside",
}


def test_the_audit_lists_what_another_daemon_has_left_and_finds_nothing_wrong_with_its_own(host: Host) -> None:
    own = host.flows()
    host.ovs.ofctl("add-group", BRIDGE, "group_id=7,type=all,bucket=bucket_id:0,actions=output:1")
    for flow in LEFT_BY_THE_REFERENCE:
        add(host, flow)
    add(host, "table=7,priority=40000,actions=drop")
    with_others = host.flows()

    status, told = host.node.call("GET", "/v2/audit")

    assert (status, told["differences"]) == (200, [])
    found = [one for one in told["foreign"] if one["kind"] == "flow"]
    assert [(one["table"], one["priority"], one["cookie"], one["order"]) for one in found] == [
        (0, 36864, "0x5", "before"),
        (0, 36864, "0x5", "before"),
        (0, 0, "0x0", "after"),
        (1, 36864, "0x5", "before"),
        (1, 36864, "0x5", "beside"),
        (2, 36768, "0x5", "beside"),
    ]
    assert [one["match"] for one in found if one["table"] == 2] == ["reg0=0x9,eth_type=0x800,ip_dst=10.0.0.3"]
    assert [(one["group"], one["order"]) for one in told["foreign"] if one["kind"] == "group"] == [(7, "beside")]
    assert host.flows() == with_others > own


def test_the_command_lists_them_apart_and_counts_those_that_come_last(host: Host) -> None:
    clean = bagpipe(host, "audit")
    add(host, "table=0,priority=40000,in_port={tap2},actions=drop")
    in_the_way, all_of_them = bagpipe(host, "audit"), bagpipe(host, "audit", "--all")

    assert [done.returncode for done in (clean, in_the_way, all_of_them)] == [0, 0, 0]
    assert clean.stdout.splitlines()[1:] == [
        "",
        "1 thing of others is where the daemon's are: 0 may take packets before them, 1 after them",
    ]
    before = f"before     cookie=0x5,table=0,priority=40000,in_port={number(host, 'tap2')} actions=drop"
    summary = "2 things of others are where the daemon's are: 1 may take packets before them, 1 after them"
    assert in_the_way.stdout.splitlines()[1:] == ["", before, summary]
    after = "after      cookie=0x0,table=0,priority=0,any actions=output:NORMAL"
    assert all_of_them.stdout.splitlines()[1:] == ["", before, after, summary]
    assert "0 differences" in in_the_way.stdout.splitlines()[0]


@pytest.mark.parametrize(
    "flow",
    [
        "table=0,priority=40000",
        "table=0,priority=36864,ip,in_port={tap2}",
        "table=0,priority=40000,vlan_tci=0/0x1fff",
        "table=0,priority=40000,ip,nw_dst=10.0.0.0/24",
        "table=0,priority=40000,mpls,in_port={mpls_gre}",
        "table=1,priority=36865,mpls,mpls_label={label}",
        "table=1,priority=40000,tun_id={label}",
        "table=2,priority=36769,ip,reg0={vrf},nw_dst=10.0.0.3",
        "table=2,priority=36769,ip,tcp,tp_dst=80",
    ],
)
def test_explain_warns_in_one_line_of_a_flow_that_may_be_first(host: Host, flow: str) -> None:
    assert explained(host, "10.0.0.3")["warnings"] == []
    add(host, f"{flow},actions=drop")

    (warning,) = explained(host, "10.0.0.3")["warnings"]

    table, priority = flow.split(",")[:2]
    assert warning.startswith(f"a flow of others may take packets first: cookie=0x5,{table},{priority},")
    assert "\n" not in warning
    shown = bagpipe(host, "explain", explained(host, "10.0.0.3")["instance"], "10.0.0.3")
    assert shown.returncode == 0
    assert shown.stdout.endswith(f"\nWarning       {warning}\n")


@pytest.mark.parametrize(
    "flow",
    [
        "table=0,priority=36000",
        "table=0,priority=36863,ip,in_port={tap2}",
        "table=0,priority=40000,in_port={tap2},dl_vlan=7",
        "table=0,priority=40000,arp",
        "table=0,priority=40000,ip,in_port=99",
        "table=0,priority=40000,ip,nw_dst=10.0.1.0/24",
        "table=1,priority=40000,mpls,mpls_label={other}",
        "table=1,priority=40000,ip,tun_id={other}",
        "table=2,priority=36767,ip,reg0={vrf},nw_dst=10.0.0.0/24",
        "table=2,priority=40000,ip,reg0={vrf},nw_dst=10.0.0.2",
        "table=2,priority=40000,ip,reg0=0x77",
        "table=2,priority=40000,ipv6",
        "table=7,priority=40000",
    ],
)
def test_explain_says_nothing_of_a_flow_that_these_packets_cannot_meet_first(host: Host, flow: str) -> None:
    add(host, f"{flow},actions=drop")

    assert explained(host, "10.0.0.3")["warnings"] == []
    assert len(host.node.call("GET", "/v2/audit")[1]["foreign"]) == (1 if flow.startswith("table=7") else 2)


def test_several_flows_in_the_way_are_one_line_and_a_destination_without_a_route_has_it_too(host: Host) -> None:
    for port in ("tap2", "tap3"):
        add(host, f"table=0,priority=40000,ip,in_port={{{port}}},actions=drop")

    for destination in ("10.0.0.3", "10.9.9.9"):
        (warning,) = explained(host, destination)["warnings"]
        assert warning.endswith(" (and 1 more, see the audit)")
