"""The cloud of ``make lab``: Neutron, OVS, agents, daemons and a backbone edge, real ones, and every scenario on it."""

from __future__ import annotations

import json
import re

import pytest

from bagpipe.lab.__main__ import ALL
from tests.neutron.stack.stack import Stack

pytestmark = pytest.mark.limit(300)
TOLD: dict[str, list[str]] = {
    "network-association": [
        r"na-a → 10\.12\.0\.\d+ \(na-b on the other network and host\): answered",
        r"ethertype MPLS unicast \(0x8847\).*ICMP echo",
        r"site → 10\.11\.0\.\d+ \(na-a\): no answer",
    ],
    "router-association": [r"site → 10\.14\.0\.\d+ \(ra-b\): answered", r"site → 10\.13\.0\.\d+ \(ra-a\): no answer"],
    "port-association": [r"pa-far → 40\.0\.0\.1 \(an address of the prefix", r"the reflector has 1 route with"],
    "port-leak": [r"pl-service forwarded [1-9]\d* packets"],
    "route-target-update": [r"the reflector has 0 routes with 64512:332"],
    "delete-in-use": [r"Neutron answers 409", r"the reflector has 1 route with 64512:340"],
    "overlapping": [r"5 of 5 pings of ov-red1 arrived at ov-red2, and none anywhere else"],
    "ipv6": [r"v6-a → 2001:db8:66::10 \(the site, IPv6\): answered"],
    "bridged": [
        r"the reflector has MACs with the VNI \d+ and \d+\n",
        r"none of them for all, such as\n.*VXLAN, flags \[I\] \(0x08\), vni \d+.*ICMP echo request",
        r"br-a → 10\.81\.0\.200 \(the machine in the rack\): answered",
        r"the reflector has MACs with the VNI 77810\n",
    ],
    "bridged-port": [r"the reflector has the MACs of bp-in, bp-far\n", r"the reflector has the MACs of bp-far\n"],
    "bridged-and-routed": [
        r"bb-a → fd00:83::12 \(bb-b, bridged\): answered",
        r"bb-a → 2001:db8:66::10 .*routed\): answered",
    ],
    "bridged-migration": [
        r"from the stop to the first answer",
        r"the reflector has its MAC from compute2 alone, with sequence number 1\n",
        r"bm-other → fd00:81::11 \(bm-vm on compute2\): answered",
    ],
    "router-fallback": [r"rf-c → 10\.52\.0\.\d+ \(rf-b, which is not in the VPN: by the router as before\): answered"],
    "live-migration": [r"from the stop to the first answer", r"site → 10\.53\.0\.\d+ \(lm-vm on compute2\): answered"],
    "vlan": [
        r"none of the VPN's, such as\n.*ethertype 802\.1Q.*vlan \d+,.*ICMP echo request",
        r"vl-near → 10\.73\.0\.\d+ \(vl-d, which is not in the VPN: by the router\): answered",
    ],
    "agent-restart": [
        r"bridged: [0-2] of \d+ packets lost",
        r"routed: [0-2] of \d+ packets lost",
        r"the reflector has 0 routes with 64512:360",
    ],
    "daemon-restart": [r"within the host: [0-2] of \d+ packets lost", r"the reflector has 0 routes with 64512:361"],
    "switch-restart": [
        r"its flows are those of before",
        r"or-l2-1 → fd00:85::12 \(bridged to the other host\): answered",
    ],
}
"""What each scenario says on the way, as patterns."""


def test_the_story_has_machines_reach_each_other_and_the_backbone_with_labels_on_the_wire(stack: Stack) -> None:
    answered = re.findall(r"^ +(\w+) +→ (\S+) +3 of 3 answered", stack.story, re.MULTILINE)
    assert len(answered) == 8, stack.story
    assert ("vm1", "172.16.0.10") in answered
    assert len(re.findall(r"^ +MPLS unicast \(0x8847\)", stack.story, re.MULTILINE)) >= 4
    assert "vm4  → 172.16.0.10        no answer" in stack.story
    seconds = re.search(r"^\[ *([\d.]+) s\] All of this works", stack.story, re.MULTILINE)
    assert seconds is not None
    assert float(seconds[1]) < 90


def test_every_scenario_is_expected_to_say_something() -> None:
    assert set(TOLD) == {scenario.name for scenario in ALL if not scenario.distributed}


def test_a_scenario_that_needs_distributed_routers_says_so(stack: Stack) -> None:
    done = stack.lab("scenario", "distributed-router")

    assert done.status == 1
    assert "distributed-router needs distributed routers: `make lab ARGS=--distributed`" in done.text


@pytest.mark.parametrize("name", TOLD)
def test_scenario_goes_as_it_should(stack: Stack, name: str) -> None:
    said = stack.played(name)

    missing = [pattern for pattern in TOLD[name] if not re.search(pattern, said)]
    assert missing == [], said


def test_the_api_can_be_called_by_command(stack: Stack) -> None:
    done = stack.lab("api", "GET", "bgpvpn/bgpvpns")

    assert done.status == 0, done.text
    assert "backbone" in [vpn["name"] for vpn in json.loads(done.text)["bgpvpns"]]


def test_what_cannot_be_done_is_said_in_a_line(stack: Stack) -> None:
    for arguments, said in (
        (("scenario", "nonsense"), "lab: no scenario 'nonsense'; there are network-association"),
        (("shell", "vm9"), "lab: no host 'vm9'; there are "),
        (("api", "POST", "networks", "{"), "lab: the body '{' is not JSON"),
        (("api", "GET", "networks/nonsense"), "404"),
    ):
        done = stack.lab(*arguments)
        assert done.status == 1
        assert said in done.text
        assert "Traceback" not in done.text


def test_what_runs_is_shown(stack: Stack) -> None:
    done = stack.lab("show")

    assert done.status == 0, done.text
    assert "backbone: route targets 64512:66" in done.text
    assert done.text.count("established") == 2
    assert done.text.count("Open vSwitch agent, alive") == 2
