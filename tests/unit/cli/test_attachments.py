"""bagpipe attach, detach, explain and audit against prepared answers: what they ask, print and exit with."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from bagpipe.cli import main as program
from tests.unit.cli.answering import answering

PUT = "PUT /v2/attachments/web1"
IN_EFFECT = {"id": "web1", "state": "in-effect", "reason": None, "label": 17}
NEEDED = ("web1", "--instance", "net", "--port", "tap1", "--mac", "52:54:00:00:00:01")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["bagpipe", *arguments])
    return program.main()


def test_an_attachment_says_only_what_was_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering({PUT: IN_EFFECT}) as server:
        status = run(monkeypatch, "--server", server.url, "attach", *NEEDED, "--rt", "1:1", "--address", "10.0.0.1/32")
    assert status == 0
    assert capsys.readouterr().out == "web1: in-effect, label 17\n"
    ((method, path, body),) = server.asked
    assert (method, path) == ("PUT", "/v2/attachments/web1?wait=10.0")
    assert body == {
        "instance": {"id": "net", "import_rts": ["1:1"], "export_rts": ["1:1"]},
        "port": {"name": "tap1"},
        "mac": "52:54:00:00:00:01",
        "addresses": ["10.0.0.1/32"],
    }


def test_every_option_has_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering({PUT: IN_EFFECT}) as server:
        status = run(
            monkeypatch, "--server", server.url, "attach", *NEEDED, "--type", "ipvpn", "--import-rt", "1:2",
            "--export-rt", "1:3", "--carried-by", "vpn", "--carried-by", "evpn",
            "--rd", "1:9", "--instance-description", "d", "--static-route", "10.9.0.0/16",
            "--fallback-src-mac", "a", "--fallback-dst-mac", "b", "--fallback-port", "3", "--fallback-vlan", "4",
            "--readvertise-from", "2:1", "--readvertise-to", "2:2", "--redirect-rt", "3:1", "--source-prefix", "p",
            "--destination-prefix", "q", "--protocol", "tcp", "--source-port", "1", "--destination-port", "2:3",
            "--attract-to", "3:2", "--static-destination", "r", "--port-number", "7", "--interface", "if", "--vlan",
            "8", "--plug", "--address", "10.0.0.1", "--address", "2001:db8::1", "--gateway", "10.0.0.254",
            "--gateway", "fe80::1", "--direction", "from-port", "--advertise-subnet", "--local-pref", "0", "--order",
            "2", "--description", "x", "--owner", "me", "--wait", "3",
        )  # fmt: skip
    assert status == 0
    ((_, path, body),) = server.asked
    assert path.endswith("?wait=3.0")
    assert body == {
        "owner": "me",
        "instance": {
            "id": "net",
            "type": "ipvpn",
            "import_rts": ["1:2"],
            "export_rts": ["1:3"],
            "route_distinguisher": "1:9",
            "carried_by": ["vpn", "evpn"],
            "description": "d",
            "static_routes": ["10.9.0.0/16"],
            "fallback": {"src_mac": "a", "dst_mac": "b", "port_number": 3, "vlan": 4},
            "readvertise": {"from_rts": ["2:1"], "to_rts": ["2:2"]},
            "attract_traffic": {
                "redirect_rts": ["3:1"],
                "classifier": {
                    "source_prefix": "p",
                    "destination_prefix": "q",
                    "protocol": "tcp",
                    "source_port": "1",
                    "destination_port": "2:3",
                },
                "to_rts": ["3:2"],
                "static_destinations": ["r"],
            },
        },
        "port": {"name": "tap1", "number": 7, "interface": "if", "vlan": 8, "plugged": False},
        "mac": "52:54:00:00:00:01",
        "addresses": ["10.0.0.1", "2001:db8::1"],
        "gateways": ["10.0.0.254", "fe80::1"],
        "direction": "from-port",
        "advertise_subnet": True,
        "local_pref": 0,
        "order": 2,
        "description": "x",
    }


def test_a_whole_body_comes_from_a_file_or_from_stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    body = {"instance": {"id": "n"}, "port": {"name": "p"}, "mac": "m"}
    file = tmp_path / "body.json"
    file.write_text(json.dumps(body))
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(body)))
    with answering({PUT: IN_EFFECT}) as server:
        assert run(monkeypatch, "--server", server.url, "attach", "web1", "--body", str(file)) == 0
        assert run(monkeypatch, "--server", server.url, "attach", "web1", "--body", "-") == 0
        assert run(monkeypatch, "--server", server.url, "attach", *NEEDED, "--body", str(file)) == 2
    assert [asked[2] for asked in server.asked] == [body, body]


def test_what_is_not_in_effect_is_status_1_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = {**IN_EFFECT, "state": "refused", "reason": "no port tap1"}
    gone = {"id": "a/b", "state": "removed", "reason": None}
    with answering({PUT: refused, "DELETE /v2/attachments/a%2Fb": gone}) as server:
        assert run(monkeypatch, "--server", server.url, "attach", *NEEDED) == 1
        assert run(monkeypatch, "--server", server.url, "detach", "a/b") == 0
        assert run(monkeypatch, "--server", server.url, "detach", "unknown", "--json") == 1
    out, err = capsys.readouterr()
    assert out == "web1: refused, label 17: no port tap1\na/b: removed\n"
    assert err == f"bagpipe: {server.url}: 404: there is no such thing\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("web1", "--port", "p", "--mac", "m"), "--instance is needed"),
        (("web1", "--instance", "n", "--mac", "m"), "--port is needed"),
        (("web1", "--instance", "n", "--port", "p"), "--mac is needed"),
        ((*NEEDED, "--protocol", "tcp"), "--redirect-rt"),
        ((*NEEDED, "--direction", "up"), "'up'"),
        ((*NEEDED, "--vlan", "x"), "'x'"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_status_2(
    arguments: tuple[str, ...], text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "attach", *arguments) == 2
    assert text in capsys.readouterr().err


EXPLAINED: dict[str, Any] = {
    "instance": "net",
    "number": 3,
    "destination": "10.0.0.9",
    "prefix": "10.0.0.9/32",
    "why": None,
    "next_hops": ["192.0.2.2 label 17 mpls"],
    "candidates": [
        {
            "prefix": "10.0.0.9/32", "route_distinguisher": "192.0.2.2:1", "peer": "192.0.2.1",
            "next_hop": "192.0.2.2 label 17 mpls", "local_pref": 200, "used": True, "reason": "higher LOCAL_PREF",
        },
        {
            "prefix": "10.0.0.9/32", "route_distinguisher": "", "peer": "attached", "next_hop": None,
            "local_pref": 100, "used": False, "reason": "not in effect",
        },
    ],
    "programmed": {"record": "route of VRF 3 to 10.0.0.9/32", "state": "pending", "reason": "not confirmed yet"},
    "carried": {
        "parts": ["table=2, priority=36768,ip,reg0=0x3,nw_dst=10.0.0.9 actions=…"],
        "counters": {"packets": 5, "octets": 490},
        "neighbours": {"192.0.2.2": "02:00:00:00:00:02", "192.0.2.3": None},
    },
    "missing": ["not confirmed yet", "the session with 192.0.2.1 is down"],
}  # fmt: skip


def test_an_explanation_reads_from_the_route_to_the_wire(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering({"GET /v2/explain": EXPLAINED}) as server:
        assert run(monkeypatch, "--server", server.url, "explain", "net", "10.0.0.9") == 0
    assert server.asked[0][1] == "/v2/explain?instance=net&destination=10.0.0.9"
    assert capsys.readouterr().out == (
        "10.0.0.9 in VPN net (VRF 3)\n\n"
        "Route         10.0.0.9/32\n"
        "Next hop      192.0.2.2 label 17 mpls\n\n"
        "Candidates, best first\n"
        "  > 10.0.0.9/32 → 192.0.2.2 label 17 mpls  (from 192.0.2.1, RD 192.0.2.2:1, LOCAL_PREF 200): "
        "higher LOCAL_PREF\n"
        "    10.0.0.9/32 → no next hop  (from attached, LOCAL_PREF 100): not in effect\n\n"
        "Dataplane     route of VRF 3 to 10.0.0.9/32 is pending: not confirmed yet\n"
        "  carried by  table=2, priority=36768,ip,reg0=0x3,nw_dst=10.0.0.9 actions=…\n"
        "  so far      5 packets, 490 octets\n"
        "  neighbour   192.0.2.2 has MAC 02:00:00:00:00:02\n"
        "              192.0.2.3 has MAC not resolved\n\n"
        "Missing\n"
        "  - not confirmed yet\n"
        "  - the session with 192.0.2.1 is down\n"
    )


def test_a_destination_without_a_route_is_said_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = {
        **EXPLAINED, "prefix": None, "why": "no route covers 10.0.0.9", "next_hops": [], "candidates": [],
        "programmed": None, "carried": None, "missing": ["no route covers 10.0.0.9"],
    }  # fmt: skip
    with answering({"GET /v2/explain": nothing}) as server:
        assert run(monkeypatch, "--server", server.url, "explain", "net", "10.0.0.9") == 1
        assert run(monkeypatch, "--server", server.url, "explain", "net", "10.0.0.9", "--json") == 1
    text, _, told = capsys.readouterr().out.partition("{")
    assert "Route         none: no route covers 10.0.0.9\n" in text
    assert json.loads("{" + told) == nothing


def test_an_audit_names_every_difference_and_fails_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    differences = [
        {"kind": "missing", "record": "delivery of label 17", "text": "no flow"},
        {"kind": "extra", "record": None, "text": "cookie=0x1 actions=drop"},
    ]
    with answering({"GET /v2/audit": {"desired": 4, "differences": differences}}) as server:
        assert run(monkeypatch, "--server", server.url, "audit") == 1
        server.answers["GET /v2/audit"] = {"desired": 4, "differences": []}
        assert run(monkeypatch, "--server", server.url, "audit") == 0
        server.answers["GET /v2/audit"] = (503, {"description": "the dataplane cannot be read: away"})
        assert run(monkeypatch, "--server", server.url, "audit") == 1
    out, err = capsys.readouterr()
    assert out == (
        "missing    delivery of label 17: no flow\n"
        "left over  cookie=0x1 actions=drop\n"
        "4 records desired, 2 differences\n"
        "4 records desired, 0 differences\n"
    )
    assert "503: the dataplane cannot be read: away" in err


def test_an_audit_tells_what_is_of_others_apart_and_it_is_no_difference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = [
        {"kind": "flow", "order": "before", "text": "table=0,priority=40000"},
        {"kind": "flow", "order": "after", "text": "table=0,priority=0"},
        {"kind": "group", "order": "beside", "text": "group_id=7"},
    ]
    with answering({"GET /v2/audit": {"desired": 4, "differences": [], "foreign": foreign}}) as server:
        assert run(monkeypatch, "--server", server.url, "audit") == 0
        shown = capsys.readouterr().out
        assert run(monkeypatch, "--server", server.url, "audit", "--all") == 0
        everything = capsys.readouterr().out
    before, after, beside = (
        "before     table=0,priority=40000\n",
        "after      table=0,priority=0\n",
        "beside     group_id=7\n",
    )
    summary = "3 things of others are where the daemon's are: 1 may take packets before them, 1 after them\n"
    assert shown == f"4 records desired, 0 differences\n\n{before}{beside}{summary}"
    assert everything == f"4 records desired, 0 differences\n\n{before}{after}{beside}{summary}"


def test_an_explanation_ends_with_what_of_others_may_come_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering({"GET /v2/explain": {**EXPLAINED, "warnings": ["a flow of others"]}}) as server:
        assert run(monkeypatch, "--server", server.url, "explain", "net", "10.0.0.9") == 0
    assert capsys.readouterr().out.endswith("\nWarning       a flow of others\n")
