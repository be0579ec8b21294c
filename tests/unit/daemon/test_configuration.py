"""The configuration file, turned into values."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest

from bagpipe.daemon import options
from bagpipe.daemon.config_source import ConfigurationError
from bagpipe.daemon.configuration import Configuration, load
from bagpipe.daemon.options import driver_name
from bagpipe.session.settings import Mode
from bagpipe.speaker import Retain
from bagpipe.wire.family import CARRIED, EVPN, RTC, VPNV4

BASE = "[BGP]\nlocal_address=192.0.2.11\nmy_as=64512\n"


def configured(tmp_path: Path, text: str, *more: str) -> Configuration:
    file = tmp_path / "bgp.conf"
    file.write_text(text)
    return load(["--config-file", str(file), *more])


def test_defaults_are_those_of_the_reference_implementation(tmp_path: Path) -> None:
    configuration = configured(tmp_path, BASE + "peers=192.0.2.1,rr.example.net\n")

    assert configuration.speaker.local_as == 64512
    assert configuration.speaker.router_id == IPv4Address("192.0.2.11")
    assert configuration.speaker.retain is Retain.AUTO
    assert configuration.api is not None
    assert (configuration.api.host, configuration.api.port) == ("127.0.0.1", 8082)
    assert configuration.listen == ()
    assert configuration.ipvpn.driver == configuration.evpn.driver == "dummy"
    assert configuration.ipvpn.local_address == IPv4Address("192.0.2.11")
    assert configuration.ipvpn.options["ovs_bridge"] == "br-mpls"
    assert configuration.evpn.options["ovs_bridge"] == "br-tun"
    assert configuration.evpn.options["vxlan_dst_port"] == 4789
    first, second = configuration.neighbours.configured
    assert first.settings.session.families == CARRIED
    assert first.settings.session.mode is Mode.ACTIVE
    assert first.settings.session.peer_as == 64512
    assert (first.reach.host, first.reach.port, first.reach.source) == ("192.0.2.1", 179, IPv4Address("192.0.2.11"))
    assert second.settings.name == "rr.example.net"


def test_a_section_says_what_differs_for_one_neighbour(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"secret\n")
    configuration = configured(
        tmp_path,
        BASE
        + "peers=192.0.2.1,192.0.2.2\nenable_rtc=False\nhold_time=30\n"
        + f"[peer 192.0.2.1]\nas=4200000000\nport=1179\npassword_file={key}\nmultihop=4\nhold_time=0\n"
        + "families=vpnv4, EVPN, rtc\nadd_path_receive=vpnv4\nmaximum_prefixes=10\nmaximum_prefixes_warning=50\n"
        + "[PEER 2001:DB8::0001]\nttl_security=1\n",
    )

    one, two, three = configuration.neighbours.configured
    session = one.settings.session
    assert (session.peer_as, session.hold_time, session.families) == (4200000000, 0, (VPNV4, EVPN))
    assert session.add_path_receive == (VPNV4,)
    assert (one.settings.maximum_prefixes, one.settings.warning_percent) == (10, 50)
    assert (one.reach.port, one.reach.protection.md5_password, one.reach.protection.ttl) == (1179, b"secret", 4)
    assert two.settings.session.hold_time == 30
    assert RTC not in two.settings.session.families
    assert three.settings.name == "2001:db8::1"
    assert three.reach.source is None
    assert three.reach.protection.lowest_ttl == 255


def test_an_external_neighbour_is_directly_connected_unless_it_is_said(tmp_path: Path) -> None:
    configuration = configured(tmp_path, BASE + "[PEER 192.0.2.1]\nas=65001\n[PEER 192.0.2.2]\n")
    ttls = [neighbour.reach.protection.ttl for neighbour in configuration.neighbours.configured]
    assert ttls == [1, None]


def test_ranges_have_templates_that_are_equal_when_nothing_has_changed(tmp_path: Path) -> None:
    text = (
        BASE + "listen=192.0.2.11,::\nlisten_port=1179\nlisten_ranges=10.0.0.0/8\n[PEER 10.1.0.0/16]\npassword=secret\n"
    )
    first, second = configured(tmp_path, text), configured(tmp_path, text)

    assert first.neighbours == second.neighbours
    assert first.listen == ((ip_address("192.0.2.11"), 1179), (ip_address("::"), 1179))
    ranges = {entry.prefix: entry for entry in first.neighbours.ranges}
    assert set(ranges) == {ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16")}
    assert ranges[ip_network("10.1.0.0/16")].protection.md5_password == b"secret"
    settings = ranges[ip_network("10.0.0.0/8")].settings(ip_address("10.9.9.9"))
    assert (settings.name, settings.session.mode, settings.client) == ("10.9.9.9", Mode.PASSIVE, False)


def test_an_interface_stands_for_its_first_address(tmp_path: Path) -> None:
    configuration = configured(
        tmp_path,
        "[BGP]\nlocal_address=lo\nmy_as=1\n[DATAPLANE_DRIVER_IPVPN]\ndataplane_local_address=lo\n",
    )
    assert configuration.local_address == configuration.ipvpn.local_address == IPv4Address("127.0.0.1")


def test_a_later_file_goes_before_an_earlier_one_and_is_the_one_that_is_blamed(tmp_path: Path) -> None:
    later = tmp_path / "later.conf"
    later.write_text("[bgp]\nmy_as=65000\n")
    assert configured(tmp_path, BASE, "--config-file", str(later)).speaker.local_as == 65000
    later.write_text("[bgp]\nmy_as=65536x\n")
    with pytest.raises(ConfigurationError, match=r"later\.conf: \[BGP\] my_as = 65536x"):
        configured(tmp_path, BASE, "--config-file", str(later))


def test_an_option_that_does_not_exist_is_warned_about(tmp_path: Path) -> None:
    configuration = configured(tmp_path, BASE + "my_ass=1\n")
    assert configuration.warnings == ("[BGP] my_ass: no such option, ignored",)


def test_the_template_names_every_option_and_no_other() -> None:
    template = (Path(__file__).parents[3] / "etc/bagpipe-bgp/bgp.conf.template").read_text()
    written = set(re.findall(r"^#?(\w+) = ", template, re.MULTILINE))
    known = {opt.dest for section in (options.BGP, options.PEER, options.API) for opt in section}
    assert known - written == {"tcp_ao_key"}
    others = {opt.dest for section in (options.COMMON, options.IPVPN_OPTIONS, options.EVPN_OPTIONS) for opt in section}
    assert {"dataplane_driver", "state_dir"} <= written - known <= others


def test_secrets_are_not_among_what_is_shown(tmp_path: Path) -> None:
    configuration = configured(tmp_path, BASE + "[PEER 192.0.2.1]\npassword=hidden\n")
    assert "hidden" not in repr(configuration.sections)


def test_the_api_off_loopback_is_warned_about(tmp_path: Path) -> None:
    configuration = configured(tmp_path, BASE + "[API]\nhost=0.0.0.0\n")
    assert any("no authentication" in warning for warning in configuration.warnings)


@pytest.mark.parametrize(
    ("kind", "text", "driver"),
    [
        ("ipvpn", "dummy", "dummy"),
        ("ipvpn", "DummyDataplaneDriver", "dummy"),
        ("ipvpn", "bagpipe.bgp.vpn.ipvpn.DummyDataplaneDriver", "dummy"),
        ("ipvpn", "mpls_linux_dataplane.MPLSLinuxDataplaneDriver", "linux"),
        ("ipvpn", "bagpipe.bgp.vpn.ipvpn.mpls_linux_dataplane.MPLSLinuxDataplaneDriver", "linux"),
        ("ipvpn", "mpls_ovs_dataplane.MPLSOVSDataplaneDriver", "ovs"),
        ("ipvpn", "bagpipe.bgp.vpn.ipvpn.mpls_ovs_dataplane.MPLSOVSDataplaneDriver", "ovs"),
        ("evpn", "linux", "linux"),
        ("evpn", "bagpipe.bgp.vpn.evpn.DummyDataplaneDriver", "dummy"),
        ("evpn", "linux_vxlan.LinuxVXLANDataplaneDriver", "linux"),
        ("evpn", "bagpipe.bgp.vpn.evpn.linux_vxlan.LinuxVXLANDataplaneDriver", "linux"),
        ("evpn", "ovs", "ovs"),
    ],
)
def test_every_old_driver_name_still_means_its_driver(kind: str, text: str, driver: str) -> None:
    assert driver_name(kind, text) == driver


@pytest.mark.parametrize("arguments", [["--log-file", "x.conf"], ["--log-file=x.conf"]])
def test_a_configuration_file_given_as_log_file_is_dropped(tmp_path: Path, arguments: list[str]) -> None:
    configuration = configured(tmp_path, BASE, *arguments)
    assert configuration.warnings == ("--log-file x.conf ignored: it looks like a configuration file",)
