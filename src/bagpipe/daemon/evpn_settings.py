"""The options of ``[DATAPLANE_DRIVER_EVPN]`` as settings of the drivers ``linux`` and ``ovs``."""

from __future__ import annotations

from typing import Any

from bagpipe.daemon.configuration import DataplaneSettings
from bagpipe.dataplane.driver import Dataplane


def linux_dataplane(settings: DataplaneSettings) -> Dataplane:
    """The Linux driver, not started. Raises LocalMisuse that names the option."""
    from bagpipe.dataplane.linux.driver import LinuxDataplane  # noqa: PLC0415 - who has the other needs none of it
    from bagpipe.dataplane.linux.settings import LinuxSettings  # noqa: PLC0415

    options: dict[str, Any] = settings.options
    return LinuxDataplane(
        LinuxSettings(
            local_address=settings.local_address,
            vxlan_port=options["vxlan_dst_port"],
            unknown_unicast=options["unknown_unicast"],
            broadcast=options["broadcast"],
            suppress=options["suppress"],
            underlay_mtu=options["underlay_mtu"],
        )
    )


def ovs_dataplane(settings: DataplaneSettings) -> Dataplane:
    """The Open vSwitch driver, not started. Raises LocalMisuse that names the option."""
    from bagpipe.dataplane.ovs_evpn.driver import OvsEvpnDataplane  # noqa: PLC0415 - as above
    from bagpipe.dataplane.ovs_evpn.settings import OvsEvpnSettings  # noqa: PLC0415

    options: dict[str, Any] = settings.options
    return OvsEvpnDataplane(
        OvsEvpnSettings(
            local_address=settings.local_address,
            bridge=options["ovs_bridge"],
            database=options["ovsdb_connection"],
            run_directory=options["ovs_run_directory"],
            unknown_unicast=options["unknown_unicast"],
            broadcast=options["broadcast"],
            suppress=options["suppress"],
            vxlan_port=options["vxlan_dst_port"],
            known_sources_only=options["known_sources_only"],
        )
    )
