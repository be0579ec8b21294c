"""The options of ``[DATAPLANE_DRIVER_IPVPN]`` as settings of the Open vSwitch driver."""

from __future__ import annotations

import logging
from typing import Any

from bagpipe.daemon.configuration import DataplaneSettings
from bagpipe.dataplane.driver import Dataplane
from bagpipe.dataplane.ovs.driver import OvsDataplane
from bagpipe.dataplane.ovs.settings import ANY_GRE, OvsSettings
from bagpipe.errors import LocalMisuse

LOG = logging.getLogger(__name__)
_OVER_GRE = {"auto": None, "true": True, "false": False}


def ovs_dataplane(settings: DataplaneSettings) -> Dataplane:
    """The driver, not started. Raises LocalMisuse that names the option."""
    return OvsDataplane(ovs_settings(settings))


def ovs_settings(settings: DataplaneSettings) -> OvsSettings:
    """The driver's settings. Raises LocalMisuse that names the option."""
    options: dict[str, Any] = settings.options
    return OvsSettings(
        local_address=settings.local_address,
        bridge=options["ovs_bridge"],
        database=options["ovsdb_connection"],
        run_directory=options["ovs_run_directory"],
        mpls_interface=options["mpls_interface"],
        mpls_over_gre=_over_gre(options),
        gre_tunnel=options["gre_tunnel"],
        tunnel_options=tuple(_pair(text) for text in options["gre_tunnel_options"]),
        vxlan_encap=options["vxlan_encap"],
        vxlan_port=options["vxlan_port"],
        label_range=_range("vxlan_label_range", options["vxlan_label_range"]),
        input_table=options["input_table"],
        first_table=options["ovs_table_id_start"],
        hash_method=options["hash_method"],
        hash_method_param=options["hash_method_param"],
        hash_fields=tuple(options["hash_fields"]) if options["hash_method"] == "hash" else (),
        proxy_arp=options["proxy_arp"],
        arp_responder=options["arp_responder"],
        interfaces_mtu=options["ovsbr_interfaces_mtu"],
        known_sources_only=options["known_sources_only"],
        router_mac=options["router_mac"],
    )


def _over_gre(options: dict[str, Any]) -> bool | None:
    chosen = _OVER_GRE[str(options["mpls_over_gre"]).lower()]
    if chosen is False and options["mpls_interface"] == ANY_GRE:
        # networking-bagpipe took False for True, so files that say both have worked.
        LOG.warning("mpls_over_gre = False contradicts mpls_interface = %s: MPLS goes over GRE", ANY_GRE)
        return None
    return chosen


def _range(field: str, text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    if not colon or not (low.isdecimal() and high.isdecimal()):
        raise LocalMisuse(field, text, "expected MIN:MAX")
    return int(low), int(high)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise LocalMisuse("gre_tunnel_options", text, "expected key=value")
    return name.strip(), value.strip()
