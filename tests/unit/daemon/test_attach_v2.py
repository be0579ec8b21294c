"""Bodies of /v2, read into attachments."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from pydantic import ValidationError

from bagpipe.daemon.attach_v2 import read_statement
from bagpipe.daemon.bodies_v2 import AttachmentBody
from bagpipe.dataplane.model import Fallback, Port
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress
from bagpipe.vpn.attachment import UNSAID

BASE: dict[str, Any] = {
    "instance": {"id": "net1", "import_rts": ["64512:1"], "export_rts": ["64512:1"]},
    "port": {"name": "tap1"},
    "mac": "fa:16:3e:00:00:02",
    "addresses": ["10.0.0.2/24", "2001:db8::2"],
}


def test_each_address_makes_an_endpoint() -> None:
    four, six = read_statement("port-1", {**BASE, "owner": "agent", "gateways": ["10.0.0.1", "2001:db8::1"]})

    assert (str(four.key.ip), str(six.key.ip)) == ("10.0.0.2/24", "2001:db8::2/128")
    assert four.port == six.port == Port("tap1")
    assert four.gateways == (ip_address("10.0.0.1"), ip_address("2001:db8::1"))
    assert (four.owner, four.name) == ("agent", "port-1")
    assert (four.local_pref, four.order) == (100, 0)


@pytest.mark.parametrize(
    ("key", "field", "nothing"),
    [
        ("gateway", "gateway", None),
        ("description", "description", None),
        ("fallback", "fallback", None),
        ("readvertise", "readvertise", None),
        ("attract_traffic", "attract", None),
        ("static_routes", "static_routes", ()),
    ],
)
def test_null_says_that_there_is_to_be_none_and_what_is_left_out_says_nothing(
    key: str, field: str, nothing: object
) -> None:
    bare = {name: value for name, value in BASE["instance"].items() if name != key}
    (left_out,) = read_statement("port-1", {**BASE, "addresses": ["10.0.0.2"], "instance": bare})
    (null,) = read_statement("port-1", {**BASE, "addresses": ["10.0.0.2"], "instance": {**bare, key: None}})
    assert getattr(left_out.instance, field) is UNSAID
    assert getattr(null.instance, field) == nothing


def test_what_the_models_take_the_reader_takes() -> None:
    body = {
        **BASE,
        "instance": {
            "id": "net1",
            "type": "ipvpn",
            "gateway": "10.0.0.1",
            "description": "a network",
            "static_routes": ["10.9.0.0/16"],
            "route_distinguisher": "64512:99",
            "fallback": {"src_mac": "00:00:00:00:00:01", "dst_mac": "00:00:00:00:00:02", "port_number": 4, "vlan": 7},
            "readvertise": {"from_rts": ["64512:8"], "to_rts": ["64512:9"]},
            "attract_traffic": {
                "redirect_rts": ["64512:7"],
                "classifier": {"destination_port": 80, "protocol": "tcp"},
                "to_rts": ["64512:6"],
                "static_destinations": ["10.8.0.0/16"],
            },
        },
        "port": {
            "name": "tap1",
            "number": 3,
            "interface": "qvo1",
            "vlan": 12,
            "plugged": False,
            "source_mac": "00:00:00:00:00:05",
        },
        "direction": "to-port",
        "description": {"x": [1]},
    }
    (one, _) = read_statement("port-1", AttachmentBody.model_validate(body).plain())

    assert one.port == Port("tap1", 3, "qvo1", 12, False, MacAddress(bytes((0, 0, 0, 0, 0, 5))))
    assert one.instance.fallback == Fallback(MacAddress(bytes(5) + b"\1"), MacAddress(bytes(5) + b"\2"), 4, 7)
    assert str(one.instance.route_distinguisher) == "64512:99"
    assert [str(prefix) for prefix in one.instance.static_routes] == ["10.9.0.0/16"]
    assert one.instance.attract is not None
    assert one.instance.attract.classifier.protocol == 6


FLAWS: dict[str, dict[str, Any]] = {
    "mac": {"mac": "zz"},
    "addresses": {"addresses": ["10.0.0.2/33"]},
    "gateways": {"gateways": ["10.0.0.0/8"]},
    "instance.import_rts": {"instance": {"id": "a", "import_rts": ["nonsense"]}},
    "instance.route_distinguisher": {"instance": {"id": "a", "route_distinguisher": "1:2:3:4"}},
    "instance.static_routes": {"instance": {"id": "a", "static_routes": ["x"]}},
    "instance.attract_traffic.static_destinations": {
        "instance": {"id": "a", "attract_traffic": {"redirect_rts": [], "classifier": {}, "to_rts": ["64512:1"]}}
    },
    "instance.attract_traffic.classifier.protocol": {
        "instance": {"id": "a", "attract_traffic": {"redirect_rts": [], "classifier": {"source_port": 1}}}
    },
    "port.vlan": {"port": {"name": "a", "vlan": 0}},
    "port.source_mac": {"port": {"name": "a", "source_mac": "00:00"}},
    "port.name": {"port": {"name": "\n"}},
    "local_pref": {"local_pref": 2**32},
    "owner": {"owner": "\x00"},
}


@pytest.mark.parametrize("field", FLAWS)
def test_a_flaw_is_told_with_the_path_of_its_field(field: str) -> None:
    body = AttachmentBody.model_validate({**BASE, **FLAWS[field]}).plain()
    with pytest.raises(LocalMisuse) as caught:
        read_statement("port-1", body)
    assert caught.value.field == field


def test_an_endpoint_of_an_ip_vpn_needs_an_address() -> None:
    with pytest.raises(LocalMisuse, match="addresses"):
        read_statement("port-1", {**BASE, "addresses": []})


@pytest.mark.parametrize(
    "change",
    [{"colour": "red"}, {"local_pref": "100"}, {"direction": "up"}, {"port": {"name": "a", "plugged": 1}}],
)
def test_types_are_strict_and_unknown_keys_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AttachmentBody.model_validate({**BASE, **change})
