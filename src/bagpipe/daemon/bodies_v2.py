"""The bodies that /v2 takes, as its OpenAPI page describes them: types are strict, unknown keys are refused.

What the values mean is read by :mod:`bagpipe.daemon.attach_v2`. Loaded with the HTTP interface only.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class FallbackBody(_Body):
    """Where packets leave that no route covers."""

    src_mac: str
    dst_mac: str
    port_number: int = Field(description="OpenFlow port")
    vlan: int | None = None


class ReadvertiseBody(_Body):
    """Routes with a target of `from_rts` are announced again with `to_rts`, through this node."""

    from_rts: list[str]
    to_rts: list[str]


class ClassifierBody(_Body):
    """Which packets are meant; what is absent matches any."""

    source_prefix: str | None = None
    destination_prefix: str | None = None
    protocol: str | int | None = Field(None, description="tcp, udp, sctp, icmp, icmpv6 or a number")
    source_port: str | int | None = Field(None, description="80 or 80:90; needs tcp, udp or sctp")
    destination_port: str | int | None = Field(None, description="80 or 80:90; needs tcp, udp or sctp")


class AttractTrafficBody(_Body):
    """Traffic that the classifier picks in the VPNs that import `redirect_rts` is drawn here by FlowSpec routes."""

    redirect_rts: list[str]
    classifier: ClassifierBody
    to_rts: list[str] = []
    static_destinations: list[str] = Field([], description="goes together with to_rts")


class InstanceBody(_Body):
    """The VPN instance. Route targets, fallback and description are those of its latest attachment."""

    id: str
    type: Literal["ipvpn", "evpn"] = "ipvpn"
    import_rts: list[str] = []
    export_rts: list[str] = []
    gateway: str | None = None
    description: str | None = None
    fallback: FallbackBody | None = None
    readvertise: ReadvertiseBody | None = None
    attract_traffic: AttractTrafficBody | None = None
    static_routes: list[str] | None = None
    route_distinguisher: str | None = Field(None, description="this node chooses one if there is none")
    vni: int | None = Field(
        None, description="of an EVPN instance, or one carried by EVPN; this node chooses one if there is none"
    )
    carried_by: list[Literal["vpn", "evpn"]] | None = Field(
        None, description="of an ipvpn instance: the families of its routes; as configured if there are none"
    )
    bridge: str | None = Field(None, description="of an EVPN instance: the Linux bridge that was made for it")


class PortBody(_Body):
    """Where the endpoint is plugged."""

    name: str
    number: int | None = Field(None, description="OpenFlow port, if the caller knows it")
    interface: str | None = Field(None, description="name on the bridge, if it is not `name`")
    vlan: int | None = None
    source_mac: str | None = Field(None, description="only frames of this MAC enter the VPN here")
    plugged: bool = Field(True, description="somebody else puts it on the bridge and takes it off")


class AttachmentBody(_Body):
    """One MAC at one port in one VPN instance, with one endpoint for each address."""

    owner: str = ""
    instance: InstanceBody
    port: PortBody
    mac: str
    addresses: list[str] = Field([], description="with the length of the subnet or without: a host")
    gateways: list[str] = []
    direction: Literal["both", "to-port", "from-port"] = "both"
    advertise_subnet: bool = False
    local_pref: int = 100
    order: int = Field(0, description="load balance order")
    sticky: bool = Field(False, description="of an EVPN instance: the MAC never moves (RFC 7432 section 15.2)")
    export_rts: list[str] | None = Field(
        None, description="in an EVPN instance: what the endpoint is announced with, if not what its instance is"
    )
    description: Any = None

    def plain(self) -> dict[str, Any]:
        """What was given, as plain values."""
        return self.model_dump(exclude_unset=True)


class OwnerBody(_Body):
    """All that an owner attaches, by id."""

    attachments: dict[str, AttachmentBody]


class OwnerChangeBody(_Body):
    """What changes of what an owner attaches, by id; null removes."""

    attachments: dict[str, AttachmentBody | None]
