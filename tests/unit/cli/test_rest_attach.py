"""bagpipe-rest-attach: the body that a command line asks for, its defaults, and what makes no sense."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bagpipe.cli.rest_attach import main
from tests.unit.cli.answering import answering

BASE = ("--attach", "--network-type", "ipvpn", "--port", "tap9", "--ip", "10.0.0.1")


def asked_by(*arguments: str) -> dict[str, Any]:
    with answering({"POST /attach_localport": None, "POST /detach_localport": None}) as server:
        assert main(["--server", server.url, *arguments]) == 0
        ((_, _, body),) = server.asked
    return dict(body)


def test_the_defaults_are_those_of_the_reference() -> None:
    assert asked_by(*BASE) == {
        "vpn_instance_id": "ipvpn-bagpipe-test",
        "vpn_type": "ipvpn",
        "import_rt": ["64512:512"],
        "export_rt": ["64512:512"],
        "local_port": {"linuxif": "tap9"},
        "mac_address": "52:54:00:99:99:22",
        "ip_address": "10.0.0.1/24",
        "gateway_ip": "10.0.0.254",
        "advertise_subnet": False,
        "direction": "both",
        "lb_consistent_hash_order": 0,
    }


def test_an_evpn_has_a_route_target_of_its_own_and_needs_a_mac(capsys: pytest.CaptureFixture[str]) -> None:
    evpn = ("--attach", "--network-type", "evpn", "--port", "tap9", "--ip", "10.0.0.1/16")
    body = asked_by(*evpn, "--mac", "52:54:00:00:00:01", "--vni", "77")
    assert (body["vpn_instance_id"], body["import_rt"], body["vni"]) == ("evpn-bagpipe-test", ["64512:513"], 77)
    assert (body["ip_address"], body["gateway_ip"]) == ("10.0.0.1/16", "10.0.255.254")

    with pytest.raises(SystemExit) as ended:
        main(list(evpn))
    assert ended.value.code == 2
    assert "Need to specify --mac" in capsys.readouterr().err


def test_route_targets_are_shared_or_go_one_way() -> None:
    body = asked_by(*BASE, "--rt", "1:1", "--rt", "1:2,1:3", "--import-rt", "2:1", "--export-rt", "3:1")
    assert body["import_rt"] == ["1:1", "1:2", "1:3", "2:1"]
    assert body["export_rt"] == ["1:1", "1:2", "1:3", "3:1"]
    assert asked_by(*BASE, "--import-rt", "2:1")["export_rt"] == []


def test_every_other_option_has_its_place_in_the_body() -> None:
    body = asked_by(
        *BASE, "--vpn-instance-id", "net", "--gateway-ip", "10.0.0.7", "--direction", "to-port", "--advertise-subnet",
        "--lb-consistent-hash-order", "3", "--local-pref", "0", "--readv-from-rt", "5:5", "--readv-to-rt", "6:6",
        "--redirect-rts", "9:9", "--source-prefix", "10.1.0.0/16", "--destination-prefix", "10.2.0.0/16",
        "--source-port", "80", "--destination-port", "80:90", "--protocol", "tcp", "--attract-to-rt", "7:7",
        "--static-destination-prefix", "10.3.0.0/16", "--ovs-vlan", "5", "--mac", "52:54:00:00:00:09",
    )  # fmt: skip
    assert body["vpn_instance_id"] == "net"
    assert body["gateway_ip"] == "10.0.0.7"
    assert body["direction"] == "to-port"
    assert body["advertise_subnet"] is True
    assert body["lb_consistent_hash_order"] == 3
    assert body["local_pref"] == 0
    assert body["mac_address"] == "52:54:00:00:00:09"
    assert body["readvertise"] == {"from_rt": ["5:5"], "to_rt": ["6:6"]}
    assert body["local_port"] == {"linuxif": "tap9", "ovs": {"port_name": "tap9", "plugged": False, "vlan": 5}}
    assert body["attract_traffic"] == {
        "redirect_rts": ["9:9"],
        "classifier": {
            "sourcePrefix": "10.1.0.0/16",
            "destinationPrefix": "10.2.0.0/16",
            "sourcePort": "80",
            "destinationPort": "80:90",
            "protocol": "tcp",
        },
        "to_rt": ["7:7"],
        "static_destination_prefixes": ["10.3.0.0/16"],
    }


def test_an_ipv6_address_has_its_own_default_mask_and_gateway() -> None:
    body = asked_by("--attach", "--network-type", "ipvpn", "--port", "tap9", "--ip", "2001:db8::7")
    assert body["ip_address"] == "2001:db8::7/64"
    assert body["gateway_ip"] == "2001:db8::ffff:ffff:ffff:ffff"


def test_an_evpn_instance_is_chained_by_its_id() -> None:
    body = asked_by("--attach", "--network-type", "ipvpn", "--port", "evpn:foo", "--ip", "10.0.0.1/24")
    assert body["local_port"] == {"evpn": {"id": "foo"}}


def test_request_and_answer_are_printed_and_an_http_error_is_the_exit_text(capsys: pytest.CaptureFixture[str]) -> None:
    refusal = {"code": 400, "description": "API error: MAC address zz is not valid"}
    with answering({"POST /detach_localport": (400, refusal)}) as server:
        assert main(["--server", server.url, "--detach", *BASE[1:]]) == 1
        ((method, path, body),) = server.asked
    out, err = capsys.readouterr()
    assert (method, path) == ("POST", "/detach_localport")
    request = next(line for line in out.splitlines() if line.startswith("request: "))
    assert json.loads(request.removeprefix("request: ")) == body
    assert "MAC address zz is not valid" in out
    assert err == "error 400\n"


def test_no_server_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", "http://127.0.0.1:1", *BASE]) == 1
    assert capsys.readouterr().err == "bagpipe-rest-attach: http://127.0.0.1:1: Connection refused\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (BASE[1:], "Need to specify --attach or --detach"),
        (("--attach", "--port", "p", "--ip", "10.0.0.1"), "Need to specify --network-type"),
        (("--attach", "--network-type", "ipvpn", "--ip", "10.0.0.1"), "Need to specify --port"),
        (("--attach", "--network-type", "ipvpn", "--port", "p"), "Need to specify --ip"),
        ((*BASE, "--network-type", "foo"), "invalid choice: 'foo'"),
        ((*BASE[:-1], "10.0.0.999"), "10.0.0.999"),
        ((*BASE[:-1], "10.0.0.1/32"), "--gateway-ip is needed"),
        ((*BASE, "--gateway-ip", "2001:db8::1"), "not of the kind"),
        ((*BASE, "--gateway-ip", "zz"), "zz"),
        ((*BASE, "--attract-to-rt", "1:1"), "--attract-to-rt needs --redirect-rts"),
        ((*BASE, "--protocol", "tcp"), "--protocol needs --redirect-rts"),
        ((*BASE, "--ovs-vlan", "4095"), "not 1 to 4094"),
        (("--attach", "--network-type", "evpn", "--port", "evpn:x", "--ip", "10.0.0.1"), "into an IP VPN"),
    ],
)
def test_a_command_line_that_makes_no_sense_asks_for_nothing(
    arguments: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering({}) as server, pytest.raises(SystemExit) as ended:
        main(["--server", server.url, *arguments])
    assert ended.value.code == 2
    assert text in capsys.readouterr().err
    assert server.asked == []
