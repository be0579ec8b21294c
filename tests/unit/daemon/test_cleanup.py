"""``bagpipe-bgp-cleanup`` and the choice of the dataplane."""

from __future__ import annotations

import asyncio
import importlib.metadata
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bagpipe.daemon import cleanup, dataplane_choice, options
from bagpipe.daemon.cleanup import clean, main
from bagpipe.daemon.configuration import DataplaneSettings, load
from bagpipe.daemon.dataplane_choice import ipvpn_dataplane
from bagpipe.daemon.ovs_settings import ovs_settings
from bagpipe.daemon.start_error import StartError
from bagpipe.dataplane.errors import DataplaneError
from bagpipe.dataplane.memory import MemoryDataplane
from bagpipe.dataplane.model import Delivery, DeliveryKey, Encapsulation
from bagpipe.errors import LocalMisuse

BASE = "[BGP]\nlocal_address=192.0.2.11\nmy_as=64512\n"


def section(tmp_path: Path, text: str) -> DataplaneSettings:
    file = tmp_path / "bgp.conf"
    file.write_text(f"{BASE}[DATAPLANE_DRIVER_IPVPN]\n{text}\n")
    return load(["--config-file", str(file)]).ipvpn


def test_everything_of_ours_is_removed() -> None:
    driver = MemoryDataplane()
    driver.held = {DeliveryKey(16): Delivery(1, None, None), DeliveryKey(17): Delivery(1, None, None)}
    assert asyncio.run(clean(driver, 1)) == 2
    assert driver.held == {}


def test_a_dataplane_that_cannot_be_reached_is_an_error_that_says_why() -> None:
    driver = MemoryDataplane()
    driver.reachable = False

    async def story() -> None:
        asyncio.get_running_loop().call_later(0.02, lambda: driver.lose("no such bridge"))
        await clean(driver, 0.1)

    with pytest.raises(DataplaneError, match="no such bridge"):
        asyncio.run(story())


def test_the_program_says_in_one_line_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bgp.conf"
    file.write_text(BASE)
    assert main(["--config-file", str(file)]) == 0
    assert capsys.readouterr().out == (
        "bagpipe-bgp-cleanup: IP VPN dataplane dummy: 0 things removed\n"
        "bagpipe-bgp-cleanup: EVPN dataplane dummy: 0 things removed\n"
    )
    assert main(["--config-file", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith("bagpipe-bgp-cleanup: ")


def test_without_open_vswitch_the_program_says_in_one_line_why_it_could_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "PATIENCE", 0.3)
    file = tmp_path / "bgp.conf"
    file.write_text(
        f"{BASE}[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver=ovs\nmpls_interface=*gre*\n"
        f"ovsdb_connection=unix:{tmp_path}/db.sock\novs_run_directory={tmp_path}\n"
    )
    assert cleanup.main(["--config-file", str(file)]) == 1
    told = capsys.readouterr()
    assert told.out == "bagpipe-bgp-cleanup: EVPN dataplane dummy: 0 things removed\n"
    assert told.err.splitlines()[-1].startswith("bagpipe-bgp-cleanup: IP VPN dataplane ovs: ")


def test_the_options_of_open_vswitch_reach_its_driver(tmp_path: Path) -> None:
    settings = ovs_settings(
        section(
            tmp_path,
            "dataplane_driver=mpls_ovs_dataplane.MPLSOVSDataplaneDriver\novs_bridge=br-x\nmpls_interface=*gre*\n"
            "gre_tunnel_options=packet_type=legacy_l3, tos=inherit\nvxlan_encap=True\nmpls_over_gre=auto\n"
            "ovs_table_id_start=10\nhash_method=hash\nhash_fields=ip_src,ip_dst\nproxy_arp=True\nvxlan_port=4790\n"
            "vxlan_label_range=600000:700000\n"
            "dataplane_local_address=192.0.2.99",
        )
    )
    assert settings.local_address == IPv4Address("192.0.2.99")
    assert settings.bridge == "br-x"
    assert settings.encapsulations == (Encapsulation.MPLS_GRE, Encapsulation.VXLAN)
    assert settings.tunnel_options == (("packet_type", "legacy_l3"), ("tos", "inherit"))
    assert settings.first_table == 10
    assert settings.proxy_arp
    assert settings.vxlan_port == 4790
    assert settings.capabilities.labels == (600_000, 700_000)


@pytest.mark.parametrize(
    ("text", "over_gre"), [("auto", None), ("True", True), ("true", True), ("False", False), ("false", False)]
)
def test_mpls_over_gre_false_turns_gre_off(tmp_path: Path, text: str, over_gre: bool | None) -> None:
    settings = ovs_settings(section(tmp_path, f"dataplane_driver=ovs\nmpls_interface=eth1\nmpls_over_gre={text}"))
    assert settings.mpls_over_gre is over_gre


def test_options_that_can_never_work_are_named(tmp_path: Path) -> None:
    with pytest.raises(LocalMisuse, match="gre_tunnel_options"):
        ovs_settings(section(tmp_path, "dataplane_driver=ovs\nmpls_interface=*gre*\ngre_tunnel_options=nonsense"))
    for text in ("16", "a:b", "15:1000", "700000:600000", "16:1048576"):
        with pytest.raises(LocalMisuse, match="vxlan_label_range"):
            ovs_settings(section(tmp_path, f"dataplane_driver=ovs\nvxlan_encap=True\nvxlan_label_range={text}"))
    with pytest.raises(LocalMisuse, match="ovs_bridge"):
        ovs_settings(section(tmp_path, "dataplane_driver=ovs\nmpls_interface=*gre*\novs_bridge=longer-than-15-chars"))


def test_a_driver_of_another_package_is_made_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def plug_in(settings: DataplaneSettings) -> MemoryDataplane:
        made.append(settings.local_address)
        return MemoryDataplane()

    point: Any = SimpleNamespace(name="house", load=lambda: plug_in)
    found = lambda group: [point] if group == "bagpipe.dataplane.ipvpn" else []  # noqa: E731
    for module in (options, dataplane_choice, importlib.metadata):
        monkeypatch.setattr(module, "entry_points", found)
    settings = section(tmp_path, "dataplane_driver=house")
    assert isinstance(ipvpn_dataplane(settings), MemoryDataplane)
    assert made == [IPv4Address("192.0.2.11")]


def test_a_driver_that_is_not_there_yet_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="linux"):
        ipvpn_dataplane(section(tmp_path, "dataplane_driver=linux"))


def test_a_file_that_says_gre_and_no_gre_means_gre_as_it_always_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ovs_settings(section(tmp_path, "dataplane_driver=ovs\nmpls_interface=*gre*\nmpls_over_gre=False"))
    assert settings.uses_gre
    assert "contradicts" in caplog.text
