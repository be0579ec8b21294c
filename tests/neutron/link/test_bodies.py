"""What an attachment looks like on its way to either daemon."""

from __future__ import annotations

import pytest

from bagpipe.errors import LocalMisuse
from bagpipe.neutron.agent.link import Fallback, Interface, LinkSettings, LocalPort, Readvertise, body_v1, body_v2
from bagpipe.neutron.agent.link.wishes import Wishes
from tests.neutron.link.daemons import NET, attachment, port_id

COMMON = {
    "vpn_instance_id": f"ipvpn_{NET}",
    "vpn_type": "ipvpn",
    "mac_address": "fa:16:3e:00:00:01",
    "ip_address": "10.0.0.1",
    "gateway_ip": "10.0.255.254",
    "local_port": {"linuxif": "patch2tun:5", "ovs": {"plugged": True, "port_number": 3, "vlan": 5}},
    "import_rt": ["64512:1"],
    "export_rt": ["64512:1"],
    "description": {"port": port_id(1)},
    "instance_description": f"BGPVPN ipvpn associations for net {NET}",
}
FALLBACK = Fallback("00:00:5e:2a:10:00", "fa:16:3e:ff:ff:ff", 4, vlan=5)


def test_an_ipvpn_attach_has_the_keys_of_networking_bagpipe() -> None:
    encoded = body_v1.encode([attachment()], has_ipv6=False)
    assert list(encoded.bodies.values()) == [COMMON]
    assert encoded.losses == ()
    (body,) = body_v1.encode([attachment(fallback=FALLBACK, local_pref=0)], has_ipv6=False).bodies.values()
    fallback = {"dst_mac": "fa:16:3e:ff:ff:ff", "src_mac": "00:00:5e:2a:10:00", "ovs_port_number": 4}
    assert body == {**COMMON, "fallback": fallback, "local_pref": 0}


def test_an_evpn_attach_has_the_keys_of_networking_bagpipe() -> None:
    one = attachment(type="evpn", instance_id=f"evpn_{NET}", local_port=LocalPort("patch2tun:5", vlan=5), vni=77)
    (body,) = body_v1.encode([one], has_ipv6=False).bodies.values()
    changed = {"vpn_instance_id": f"evpn_{NET}", "vpn_type": "evpn", "vni": 77}
    assert body == {**COMMON, **changed, "local_port": {"linuxif": "patch2tun:5", "vlan": 5}}
    bridged = attachment(type="evpn", instance_id=f"evpn_{NET}", local_port=LocalPort("tap1", linuxbr="brq1"))
    (body,) = body_v1.encode([bridged], has_ipv6=False).bodies.values()
    assert (body["local_port"], body["linuxbr"], body["vni"]) == ({"linuxif": "tap1"}, "brq1", None)


def test_a_prefix_route_and_a_leak_have_the_keys_of_networking_bagpipe() -> None:
    prefix = attachment(
        instance_id="ipvpn_portassoc_x_prefix_40_0_0_0_24",
        addresses=("40.0.0.0/24",),
        advertise_subnet=True,
        direction="to-port",
    )
    (body,) = body_v1.encode([prefix], has_ipv6=False).bodies.values()
    assert body == {
        **COMMON, "vpn_instance_id": prefix.instance_id, "ip_address": "40.0.0.0/24", "advertise_subnet": True,
        "direction": "to-port", "local_pref": None,
    }  # fmt: skip
    leak = attachment(
        instance_id="ipvpn_portassoc_x_bgpvpn_y",
        direction="to-port",
        readvertise=Readvertise(frozenset({"64512:9", "64512:10"}), frozenset({"64512:1"})),
    )
    (body,) = body_v1.encode([leak], has_ipv6=False).bodies.values()
    assert body["readvertise"] == {"from_rt": ["64512:10", "64512:9"], "to_rt": ["64512:1"]}


def test_a_detach_names_the_endpoint_and_nothing_else() -> None:
    assert body_v1.detachment(COMMON) == {
        "vpn_instance_id": f"ipvpn_{NET}",
        "vpn_type": "ipvpn",
        "mac_address": "fa:16:3e:00:00:01",
        "ip_address": "10.0.0.1",
        "local_port": {"linuxif": "patch2tun:5"},
    }


def test_each_address_is_a_call_and_ipv6_is_not_for_a_daemon_without_it() -> None:
    one = attachment(
        addresses=("10.0.0.1/32", "10.0.1.1/32", "2001:db8::1/128"), gateways=("10.0.255.254", "2001:db8::ffff")
    )
    encoded = body_v1.encode([one], has_ipv6=False)
    assert [body["ip_address"] for body in encoded.bodies.values()] == ["10.0.0.1", "10.0.1.1"]
    assert len(encoded.losses) == 1
    assert "no IPv6" in encoded.losses[0]
    told = body_v1.encode([one], has_ipv6=True)
    assert [(body["ip_address"], body["gateway_ip"]) for body in told.bodies.values()] == [
        ("10.0.0.1", "10.0.255.254"), ("10.0.1.1", "10.0.255.254"), ("2001:db8::1", "2001:db8::ffff"),
    ]  # fmt: skip
    assert told.losses == ()


def test_an_instance_of_one_port_is_that_of_its_network_with_all_its_targets() -> None:
    alone = attachment(
        instance_id=f"ipvpn_{NET}_port_{port_id(1)}",
        import_rts=frozenset({"64512:2"}),
        local_pref=7,
        local_port=LocalPort("patch2tun:5", 3, 5, source_mac="fa:16:3e:00:00:01"),
    )
    encoded = body_v1.encode([attachment(), alone], has_ipv6=False)
    assert list(encoded.bodies.values()) == [{**COMMON, "import_rt": ["64512:1", "64512:2"], "local_pref": 7}]
    assert "cannot tell the ports of a network apart" in encoded.losses[0]
    named = attachment(instance_id="evpn_odd", type="evpn", shared_instance_id="evpn_net")
    (body,) = body_v1.encode([named], has_ipv6=False).bodies.values()
    assert body["vpn_instance_id"] == "evpn_net"
    prefix = attachment(
        instance_id=f"ipvpn_portassoc_{NET}_prefix_40_0_0_0_24", direction="to-port", local_port=alone.local_port
    )
    (body,) = body_v1.encode([prefix], has_ipv6=False).bodies.values()
    assert body["vpn_instance_id"] == prefix.instance_id


def test_only_some_changes_of_an_endpoint_need_a_detach() -> None:
    def first(**more: object) -> body_v1.Body:
        return next(iter(body_v1.encode([attachment(**more)], has_ipv6=False).bodies.values()))

    assert not body_v1.replaces(first(), first(import_rts=frozenset(), local_pref=5, fallback=FALLBACK))
    assert body_v1.replaces(first(), first(local_port=LocalPort("patch2tun:6", 3, 6)))
    assert body_v1.replaces(first(), first(gateways=()))
    assert body_v1.replaces(first(), first(export_rts=frozenset({"64512:9"})))
    leak = Readvertise(frozenset({"64512:9"}), frozenset())
    assert not body_v2.replaces(body_v2.body(attachment()), body_v2.body(attachment(readvertise=leak)))
    distinguished = body_v2.body(attachment(route_distinguisher="64512:7"))
    assert body_v2.replaces(body_v2.body(attachment()), distinguished)
    assert not body_v2.replaces(body_v2.body(attachment()), body_v2.body(attachment(import_rts=frozenset())))


def test_a_body_of_v2_has_what_was_given_and_no_defaults() -> None:
    assert body_v2.body(attachment()) == {
        "instance": {
            "id": f"ipvpn_{NET}", "type": "ipvpn", "import_rts": ["64512:1"], "export_rts": ["64512:1"],
            "description": f"BGPVPN ipvpn associations for net {NET}",
            "fallback": None,
            "readvertise": None,
        },
        "port": {"name": "patch2tun:5", "number": 3, "vlan": 5, "plugged": True},
        "mac": "fa:16:3e:00:00:01",
        "addresses": ["10.0.0.1/32"],
        "gateways": ["10.0.255.254"],
        "description": {"port": port_id(1)},
    }  # fmt: skip
    full = body_v2.body(
        attachment(
            fallback=FALLBACK,
            readvertise=Readvertise(frozenset({"64512:9"}), frozenset({"64512:1"})),
            local_pref=0,
            direction="to-port",
            advertise_subnet=True,
            route_distinguisher="64512:7",
            local_port=LocalPort("patch2tun:5", None, 5, source_mac="fa:16:3e:00:00:01"),
        )
    )
    assert full["port"] == {
        "name": "patch2tun:5:fa:16:3e:00:00:01", "interface": "patch2tun:5", "vlan": 5, "plugged": True,
        "source_mac": "fa:16:3e:00:00:01",
    }  # fmt: skip
    instance = full["instance"]
    assert isinstance(instance, dict)
    assert instance["fallback"] == {
        "src_mac": "00:00:5e:2a:10:00", "dst_mac": "fa:16:3e:ff:ff:ff", "port_number": 4, "vlan": 5,
    }  # fmt: skip
    assert instance["readvertise"] == {"from_rts": ["64512:9"], "to_rts": ["64512:1"]}
    assert (instance["route_distinguisher"], full["local_pref"]) == ("64512:7", 0)
    assert (full["direction"], full["advertise_subnet"]) == ("to-port", True)


def test_the_agents_own_mistakes_are_named() -> None:
    wishes = Wishes()
    with pytest.raises(LocalMisuse, match="stated twice"):
        wishes.state(port_id(1), [attachment(), attachment()])
    with pytest.raises(LocalMisuse, match="not other"):
        wishes.state("other", [attachment()])
    for wrong, field in (
        ({"port": 0}, "port"),
        ({"address": ""}, "address"),
        ({"ping_interval": 0}, "ping_interval"),
        ({"owner": ""}, "owner"),
    ):
        with pytest.raises(LocalMisuse) as caught:
            LinkSettings(**wrong)  # type: ignore[arg-type]
        assert caught.value.field == field
    assert LinkSettings(address="unix:/run/x").socket_path == LinkSettings(address="/run/x").socket_path == "/run/x"
    assert LinkSettings().interface is Interface.AUTO
