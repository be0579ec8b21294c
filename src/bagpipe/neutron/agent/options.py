"""The options of the agent extension: group ``[bagpipe]`` of the L2 agent's configuration.

Names and defaults are those of networking-bagpipe, so that its configuration files serve as they are; what is new has a
default that changes nothing.
"""

from __future__ import annotations

from typing import Any, Final

from oslo_config import cfg

GROUP: Final = "bagpipe"

OPTIONS: Final[tuple[cfg.Opt, ...]] = (
    cfg.StrOpt(
        "mpls_bridge",
        default="br-mpls",
        help="The bridge of bagpipe-bgp's IP VPN dataplane (its ovs_bridge). The agent waits for it to be there.",
    ),
    cfg.IntOpt(
        "ping_interval",
        default=10,
        min=1,
        help="Seconds between two looks at a daemon that offers no events. bagpipe-bgp is watched all the time.",
    ),
    cfg.PortOpt("bagpipe_bgp_port", default=8082, help="The port of bagpipe-bgp's HTTP interface."),
    cfg.StrOpt(
        "bagpipe_bgp_socket",
        help="The path of bagpipe-bgp's unix socket, in place of an address and a port.",
    ),
    cfg.HostAddressOpt(
        "bagpipe_bgp_ip",
        default="127.0.0.1",
        advanced=True,
        help="Where bagpipe-bgp's HTTP interface listens.",
    ),
    cfg.BoolOpt(
        "allowed_address_pairs",
        default=False,
        help=(
            "Whether addresses of a port's allowed address pairs are announced as well. Pairs that are a subnet are"
            " not: a port association with a prefix route announces those."
        ),
    ),
    cfg.StrOpt(
        "tun_to_mpls_peer_patch_port",
        default="patch-to-mpls",
        advanced=True,
        help="The patch port of br-tun that leads to the MPLS bridge.",
    ),
    cfg.StrOpt(
        "mpls_to_tun_peer_patch_port",
        default="patch-from-tun",
        advanced=True,
        help="The patch port of the MPLS bridge that leads to br-tun.",
    ),
    cfg.StrOpt(
        "mpls_to_int_peer_patch_port",
        default="patch-mpls-to-int",
        advanced=True,
        help="The patch port of the MPLS bridge that leads to br-int.",
    ),
    cfg.StrOpt(
        "int_to_mpls_peer_patch_port",
        default="patch-int-from-mpls",
        advanced=True,
        help="The patch port of br-int that leads to the MPLS bridge.",
    ),
)


def register(configuration: cfg.ConfigOpts) -> None:
    """Make ``configuration.bagpipe`` have the options; doing it again does nothing."""
    configuration.register_opts(OPTIONS, GROUP)


def list_opts() -> list[tuple[str, list[Any]]]:
    """For ``oslo.config.opts``: the groups with their options."""
    return [(GROUP, list(OPTIONS))]
