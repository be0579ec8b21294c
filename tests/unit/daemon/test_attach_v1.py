"""Bodies of networking-bagpipe's agents, read into attachments."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_address
from typing import Any

import pytest

from bagpipe.daemon.attach_v1 import read_attach, read_detach
from bagpipe.dataplane.model import Direction, Fallback, Port, Ports
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress, RouteTarget
from bagpipe.vpn.attachment import UNSAID, EndpointKey, InstanceType

BASE: dict[str, Any] = {
    "vpn_instance_id": "net1",
    "vpn_type": "ipvpn",
    "import_rt": ["64512:1"],
    "export_rt": ["64512:1"],
    "mac_address": "52:54:00:99:99:22",
    "ip_address": "10.0.0.2",
    "gateway_ip": "10.0.0.1",
    "local_port": {"linuxif": "tap1"},
}
MAC = MacAddress(bytes.fromhex("525400999922"))


def rts(*texts: str) -> frozenset[RouteTarget]:
    return frozenset(RouteTarget.from_text(text) for text in texts)


def test_the_smallest_body_has_the_defaults_of_the_reference() -> None:
    attachment = read_attach(BASE)

    assert attachment.key == EndpointKey(MAC, IPv4Interface("10.0.0.2/32"))
    assert attachment.instance.external_id == "net1"
    assert attachment.instance.type is InstanceType.IPVPN
    assert attachment.gateways == (ip_address("10.0.0.1"),)
    assert attachment.port == Port("tap1", plugged=False)
    assert attachment.direction is Direction.BOTH
    assert (attachment.local_pref, attachment.order, attachment.advertise_subnet) == (100, 0, False)
    assert attachment.owner == ""


def test_what_newer_and_older_agents_add_is_passed_over() -> None:
    assert read_attach({**BASE, "network_id": "x", "no_such_key": {"a": [1]}}) == read_attach(BASE)


def test_null_means_the_default() -> None:
    nothing = dict.fromkeys(
        ("direction", "local_pref", "lb_consistent_hash_order", "readvertise", "attract_traffic", "fallback",
         "advertise_subnet", "description", "instance_description", "vni", "linuxbr"))  # fmt: skip
    assert read_attach({**BASE, **nothing}) == read_attach(BASE)


def test_nothing_to_attract_may_be_an_empty_object() -> None:
    assert read_attach({**BASE, "attract_traffic": {}}) == read_attach(BASE)


def test_the_gateway_is_that_of_the_endpoint_and_leaves_the_instance_as_it_is() -> None:
    attachment = read_attach({**BASE, "gateway_ip": "2001:db8::1"})
    assert attachment.gateways == (ip_address("2001:db8::1"),)
    assert attachment.instance.gateway is UNSAID


def test_route_targets_are_a_list_or_a_string_with_commas_and_of_three_kinds() -> None:
    attachment = read_attach({**BASE, "import_rt": "64512:1, 64512:2,64512:1", "export_rt": []})
    assert attachment.instance.import_rts == rts("64512:1", "64512:2")
    assert attachment.instance.export_rts == frozenset()
    kinds = ["192.0.2.1:7", "4200000000:7", "64512:4000000000"]
    assert read_attach({**BASE, "import_rt": kinds}).instance.import_rts == rts(*kinds)


@pytest.mark.parametrize("text", ["52:54:00:99:99:22", "52-54-00-99-99-22", "5254.0099.9922", "525400999922"])
def test_a_mac_address_may_be_written_in_any_usual_way(text: str) -> None:
    assert read_attach({**BASE, "mac_address": text}).key.mac == MAC


def test_an_address_may_have_a_mask_and_may_be_ipv6() -> None:
    assert read_attach({**BASE, "ip_address": "10.0.0.2/24"}).key.ip == IPv4Interface("10.0.0.2/24")
    six = read_attach({**BASE, "ip_address": "2001:db8::2", "gateway_ip": "2001:db8::1"})
    assert six.key.ip == IPv6Interface("2001:db8::2/128")
    assert six.gateways == (ip_address("2001:db8::1"),)


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ("tap1", Port("tap1", plugged=False)),
        ({"linuxif": "tap1"}, Port("tap1", plugged=False)),
        ({"linuxif": "tap1", "ovs": None}, Port("tap1", plugged=False)),
        ({"linuxif": "tap1", "ovs": {"plugged": True, "port_number": 7}}, Port("tap1", 7)),
        ({"linuxif": "tap1", "ovs": {"plugged": True, "port_number": "7"}}, Port("tap1", 7)),
        (
            {
                "linuxif": "patch2tun:5",
                "ovs": {"plugged": True, "port_name": "patch", "vlan": 5, "to_vm_port_name": ""},
            },
            Port("patch2tun:5", None, "patch", 5),
        ),
    ],
)
def test_a_local_port_has_several_forms(given: object, port: Port) -> None:
    assert read_attach({**BASE, "local_port": given}).port == port


def test_a_service_chain_is_read_whole() -> None:
    attachment = read_attach(
        {
            **BASE,
            "direction": "to-port",
            "advertise_subnet": True,
            "local_pref": 50,
            "lb_consistent_hash_order": 3,
            "description": {"any": ["thing", 1, None]},
            "instance_description": "a network",
            "readvertise": {"from_rt": "64512:8", "to_rt": ["64512:9"]},
            "attract_traffic": {
                "redirect_rts": ["64512:77"],
                "classifier": {
                    "sourcePrefix": "10.0.0.0/24",
                    "destinationPrefix": "10.1.0.1/16",
                    "sourcePort": "80:90",
                    "destinationPort": "443",
                    "protocol": "tcp",
                },
                "to_rt": ["64512:78"],
                "static_destination_prefixes": ["10.2.0.0/16", "10.2.0.0/16"],
            },
            "fallback": {"src_mac": "00:00:00:00:00:01", "dst_mac": "00:00:00:00:00:02", "ovs_port_number": 4},
        }
    )

    spec = attachment.instance
    assert (attachment.direction, attachment.advertise_subnet) == (Direction.TO_PORT, True)
    assert (attachment.local_pref, attachment.order) == (50, 3)
    assert (attachment.description, spec.description) == ({"any": ["thing", 1, None]}, "a network")
    assert spec.readvertise is not None
    assert (spec.readvertise.from_rts, spec.readvertise.to_rts) == (rts("64512:8"), rts("64512:9"))
    assert spec.attract is not None
    classifier = spec.attract.classifier
    assert (str(classifier.source), str(classifier.destination)) == ("10.0.0.0/24", "10.1.0.0/16")
    assert (classifier.source_ports, classifier.destination_ports) == (Ports(80, 90), Ports(443, 443))
    assert classifier.protocol == 6
    assert [str(prefix) for prefix in spec.attract.static_destinations] == ["10.2.0.0/16"]
    assert spec.fallback == Fallback(MacAddress(bytes(5) + b"\1"), MacAddress(bytes(5) + b"\2"), 4)


FLAWS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no type": ({"vpn_type": None}, "vpn_type", "missing instance_type"),
    "unknown type": ({"vpn_type": "foo"}, "vpn_type", "unknown vpn_type: foo"),
    "type that is a list": ({"vpn_type": ["ipvpn"]}, "vpn_type", "unknown vpn_type"),
    "MAC": ({"mac_address": "zz"}, "mac_address", "MAC address zz is not valid"),
    "MAC that is a number": ({"mac_address": 5}, "mac_address", "MAC address 5 is not valid"),
    "address": ({"ip_address": "10.0.0.2/40"}, "ip_address", "IP address 10.0.0.2/40 is not valid"),
    "scoped address": ({"ip_address": "fe80::1%eth0"}, "ip_address", "is not valid"),
    "gateway": ({"gateway_ip": "nowhere"}, "gateway_ip", "nowhere"),
    "route target": ({"import_rt": ["64512"]}, "import_rt", "64512"),
    "route targets that are a number": ({"export_rt": 5}, "export_rt", "neither a list"),
    "route target that is a number": ({"export_rt": [5]}, "export_rt", "not a route target"),
    "direction": ({"direction": "up"}, "direction", "direction should be one of: both, to-port, from-port"),
    "direction that is an object": ({"direction": {}}, "direction", "direction should be one of"),
    "empty instance": ({"vpn_instance_id": ""}, "vpn_instance_id", "printable"),
    "port": ({"local_port": {"ovs": {}}}, "local_port", "neither linuxif nor evpn"),
    "port that is a number": ({"local_port": 4}, "local_port", "not an object"),
    "port number": (
        {"local_port": {"linuxif": "a", "ovs": {"port_number": True}}}, "local_port.ovs.port_number", "whole number",
    ),
    "vlan": ({"local_port": {"linuxif": "a", "ovs": {"vlan": 4095}}}, "local_port.ovs.vlan", "1 to 4094"),
    "chain": ({"local_port": {"evpn": {"id": "x"}}}, "local_port.evpn.id", "no such EVPN instance"),
    "chain without id": ({"local_port": {"evpn": {}}}, "local_port.evpn.id", "not a string"),
    "local_pref": ({"local_pref": -1}, "local_pref", "whole number"),
    "order": ({"lb_consistent_hash_order": 1.5}, "lb_consistent_hash_order", "whole number"),
    "advertise_subnet": ({"advertise_subnet": "maybe"}, "advertise_subnet", "neither true nor false"),
    "readvertise": ({"readvertise": {"from_rt": []}}, "readvertise.to_rt", "are needed"),
    "readvertise that is a list": ({"readvertise": []}, "readvertise", "not an object"),
    "attract": ({"attract_traffic": {"redirect_rts": []}}, "attract_traffic.classifier", "are needed"),
    "attract without destinations": (
        {"attract_traffic": {"redirect_rts": ["64512:1"], "classifier": {}, "to_rt": ["64512:2"]}},
        "attract_traffic.static_destination_prefixes",
        "'attract_traffic/to_rt' specified without 'static_destination_prefixes'",
    ),
    "ports without protocol": (
        {"attract_traffic": {"redirect_rts": [], "classifier": {"sourcePort": "80"}}},
        "attract_traffic.classifier.protocol",
        "ports need",
    ),
    "two versions": (
        {"attract_traffic": {"redirect_rts": [], "classifier": {"sourcePrefix": "::/0", "destinationPrefix": "0/0"}}},
        "attract_traffic.classifier.destinationPrefix",
        "not an",
    ),
    "range": (
        {"attract_traffic": {"redirect_rts": [], "classifier": {"sourcePort": "9:8", "protocol": 17}}},
        "attract_traffic.classifier.sourcePort",
        "ends before",
    ),
    "fallback": ({"fallback": {"src_mac": "00:00:00:00:00:01"}}, "fallback.dst_mac", "are needed"),
    "description": ({"instance_description": ["x"]}, "instance_description", "not a string"),
}  # fmt: skip


@pytest.mark.parametrize("name", FLAWS)
def test_a_flaw_names_the_field_and_has_the_text_of_the_reference(name: str) -> None:
    change, field, text = FLAWS[name]
    with pytest.raises(LocalMisuse) as caught:
        read_attach({**BASE, **change})
    assert caught.value.field == field
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["vpn_instance_id", "import_rt", "export_rt", "mac_address", "ip_address", "gateway_ip", "local_port"],
)
def test_a_key_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(LocalMisuse, match=f"Missing parameter: '{name}'") as caught:
        read_attach({key: value for key, value in BASE.items() if key != name})
    assert caught.value.field == name


def test_a_detach_needs_less_and_takes_a_chained_port() -> None:
    body = {key: BASE[key] for key in ("vpn_instance_id", "vpn_type", "mac_address", "ip_address", "local_port")}
    assert read_detach(body).key == read_attach(BASE).key
    assert read_detach({**body, "local_port": {"evpn": {"id": "evi"}}}).external_id == "net1"
    with pytest.raises(LocalMisuse, match="Missing parameter: 'local_port'"):
        read_detach({key: value for key, value in body.items() if key != "local_port"})
    without_ip = {key: value for key, value in body.items() if key != "ip_address"}
    with pytest.raises(LocalMisuse, match="ip_address"):
        read_detach(without_ip)
    assert read_detach({**without_ip, "vpn_type": "evpn"}).key == EndpointKey(MAC, None)
