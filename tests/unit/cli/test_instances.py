"""bagpipe instances and bagpipe watch: what they show of the answers and events of a daemon."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bagpipe.cli import main as program
from tests.unit.cli.answering import answering

INSTANCE: dict[str, Any] = {
    "id": "net/1",
    "type": "ipvpn",
    "instance_dataplane_id": 3,
    "route_targets": {"import": ["target:64512:1", "target:64512:2"], "export": []},
    "route_distinguisher": "192.0.2.1:5",
    "counts": {"endpoints": 1, "prefixes": 2, "unusable_routes": 1},
    "endpoints": [
        {
            "port": "tap1 vlan 7", "mac_address": "52:54:00:00:00:01", "ip_address": "10.0.0.1/32", "label": 17,
            "direction": "both", "state": "refused", "announced": False, "reason": "no port tap1",
        }
    ],
    "routes": [
        {
            "prefix": "10.0.0.9/32",
            "candidates": [
                {
                    "next_hop": "192.0.2.2 label 18 mpls", "route_distinguisher": "192.0.2.2:1", "peer": "192.0.2.9",
                    "local_pref": 100, "used": True, "reason": "only path",
                },
                {
                    "next_hop": None, "route_distinguisher": "", "peer": "attached",
                    "local_pref": 100, "used": False, "reason": "not usable",
                },
            ],
        }
    ],
}  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["bagpipe", *arguments])
    return program.main()


def test_instances_are_listed_with_their_route_targets_and_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering({"GET /v2/instances": {"instances": [INSTANCE]}}) as server:
        assert run(monkeypatch, "--server", server.url, "instances") == 0
        server.answers["GET /v2/instances"] = {"instances": []}
        assert run(monkeypatch, "--server", server.url, "instances") == 0
    heading, row, nothing = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        "Instance", "Type", "VRF", "Imports", "Exports", "RD", "Endpoints", "Prefixes/MACs", "Unusable",
    ]  # fmt: skip
    assert row.split() == ["net/1", "ipvpn", "3", "64512:1", "64512:2", "-", "192.0.2.1:5", "1", "2", "1"]
    assert nothing == "no VPN instances"


def test_an_evpn_instance_is_shown_with_every_claim_to_a_mac(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = {
        "route_distinguisher": "192.0.2.2:1", "peer": "192.0.2.9", "node": "192.0.2.2", "ip_address": "10.0.0.9",
        "ethernet_segment": None, "sequence": 3, "sticky": True, "default_gateway": False,
        "next_hops": ["192.0.2.2 label 77 vxlan"], "used": True, "reason": "sticky",
    }  # fmt: skip
    other = claim | {"ip_address": None, "sequence": 0, "sticky": False, "next_hops": [], "used": False, "reason": "-"}
    counts = {"endpoints": 0, "macs": 7, "neighbours": 1, "unusable_routes": 0}
    macs = [{"mac": "52:54:00:00:00:09", "candidates": [claim, other]}]
    evi = INSTANCE | {"type": "evpn", "counts": counts, "endpoints": [], "routes": macs}
    with answering({"GET /v2/instances/net%2F1": evi}) as server:
        assert run(monkeypatch, "--server", server.url, "instances", "net/1") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "net/1 evpn 3 64512:1 64512:2 - 192.0.2.1:5 0 7 0" in lines
    assert "> 52:54:00:00:00:09 10.0.0.9 192.0.2.2 label 77 vxlan 192.0.2.2:1 192.0.2.9 3 sticky sticky" in lines
    assert "52:54:00:00:00:09 - - 192.0.2.2:1 192.0.2.9 0 -" in lines


def test_one_instance_is_shown_with_endpoints_and_every_competing_route(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering({"GET /v2/instances/net%2F1": INSTANCE}) as server:
        assert run(monkeypatch, "--server", server.url, "instances", "net/1") == 0
        assert run(monkeypatch, "--server", server.url, "instances", "net/1", "--json") == 0
        assert run(monkeypatch, "--server", server.url, "instances", "other") == 1
    out, err = capsys.readouterr()
    text, _, told = out.partition("{")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "tap1 vlan 7 52:54:00:00:00:01 10.0.0.1/32 17 both refused no no port tap1" in lines
    assert "> 10.0.0.9/32 192.0.2.2 label 18 mpls 192.0.2.2:1 192.0.2.9 100 only path" in lines
    assert "10.0.0.9/32 - - attached 100 not usable" in lines
    assert json.loads("{" + told) == INSTANCE
    assert "404: there is no such thing" in err


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("hello", {"process": 5, "version": "1.2"}, "bagpipe 1.2, process 5"),
        (
            "attachment",
            {"id": "web1", "owner": "agent", "state": "refused", "reason": "no port"},
            "attachment web1 of agent  \x1b[31mrefused\x1b[0m: no port",
        ),
        (
            "attachment",
            {"id": "web1", "owner": "", "state": "in-effect", "reason": None},
            "attachment web1  \x1b[32min-effect\x1b[0m",
        ),
        ("dataplane", {"state": "unreachable", "why": "no socket"}, "dataplane  unreachable: no socket"),
    ],
)
def test_an_event_is_one_line(kind: str, value: dict[str, Any], text: str) -> None:
    assert program.EVENT_TEXTS[kind](value).partition("  ")[2] == text
