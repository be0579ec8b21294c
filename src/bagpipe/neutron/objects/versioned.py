"""The versioned objects: fields, equality, and where :meth:`get_objects` finds them.

On the wire (``obj_to_primitive``) the elements of ``subnets`` and ``connected_networks`` are JSON *strings*; in Python
they are dictionaries:

* a subnet: ``{"ip_version": 4 | 6, "id": uuid, "cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.1" | None,
  "gateway_mac": "fa:16:3e:..." | None}``; the MAC is that of the port which has the gateway's address, a router of
  any kind;
* a connected network: ``{"network_id": uuid, "subnets": [subnet, ...]}``.

``advertise_extra_routes`` of a router association has no field. A server states what it means as port associations of
the ports that are the next hops, with a route for each destination; agents of any age understand that
(:mod:`bagpipe.neutron.objects.extra_routes`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Self

from neutron.objects import base
from neutron_lib import exceptions
from neutron_lib.api.definitions import bgpvpn as bgpvpn_api
from neutron_lib.api.definitions import bgpvpn_routes_control as routes_api
from neutron_lib.objects import common_types
from neutron_lib.objects.extensions import standardattributes
from oslo_versionedobjects import fields

# The default of a field that may be left out.
ABSENT: Any = None


def _optional_string() -> Any:
    return fields.StringField(nullable=True, default=ABSENT)


def _one_of(values: Sequence[str]) -> Any:
    return fields.Field(fields.Enum(valid_values=values))


class ToldObject(base.NeutronObject):
    """An object in which what has no value may be left out on the wire, and is None then."""

    VERSION = "1.0"

    def obj_load_attr(self, attrname: str) -> None:
        """Make a field None that was left out. Raises :class:`NotImplementedError` for one that must not be."""
        if attrname not in self.fields or not self.fields[attrname].nullable:
            raise NotImplementedError(f"{self.obj_name()} came without {attrname}")
        setattr(self, attrname, None)
        self.obj_reset_changes([attrname])


class StoredObject(ToldObject):
    """An object that a server reads from its database, by the filters that its class knows."""

    FILTERS: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def get_objects(
        cls, context: Any, _pager: Any = None, validate_filters: bool = True, fields: Any = None, **filters: Any
    ) -> list[Self]:
        """The objects that every filter matches; a value may be a list of values. On a server only.

        Asked for what a network or a port is in, an external network and a port of ``network:*`` are in nothing.
        Raises :class:`neutron_lib.exceptions.InvalidInput` for a filter that is not known.
        """
        from bagpipe.neutron.objects import answers  # noqa: PLC0415 -- an agent has no database

        unknown = filters.keys() - cls.FILTERS
        if unknown:
            text = f"'{', '.join(sorted(unknown))}' is not supported for filtering {cls.obj_name()}"
            raise exceptions.InvalidInput(error_message=text)
        found: list[Self] = answers.READERS[cls.obj_name()](context, **filters)
        return found

    @classmethod
    def get_object(cls, context: Any, fields: Any = None, **filters: Any) -> Self | None:
        """The first object that the filters match, or None."""
        return next(iter(cls.get_objects(context, **filters)), None)


@base.NeutronObjectRegistry.register
class BGPVPN(StoredObject):
    """A BGP VPN as the API has it, without its associations."""

    FILTERS = frozenset({"id", "project_id", "type"})
    fields: ClassVar[dict[str, Any]] = {
        "id": common_types.UUIDField(),
        "project_id": fields.StringField(),
        "type": _one_of(bgpvpn_api.BGPVPN_TYPES),
        "name": _optional_string(),
        "route_targets": fields.ListOfStringsField(nullable=True, default=[]),
        "import_targets": fields.ListOfStringsField(nullable=True, default=[]),
        "export_targets": fields.ListOfStringsField(nullable=True, default=[]),
        "route_distinguishers": fields.ListOfStringsField(nullable=True, default=[]),
        "local_pref": fields.IntegerField(nullable=True),
        "vni": fields.IntegerField(nullable=True),
        **standardattributes.STANDARD_ATTRIBUTES,
    }


@base.NeutronObjectRegistry.register
class BGPVPNNetAssociation(StoredObject):
    """All ports of a network are in a BGP VPN."""

    FILTERS = frozenset({"id", "project_id", "bgpvpn_id", "network_id"})
    synthetic_fields: ClassVar[list[str]] = ["bgpvpn", "subnets"]
    fields: ClassVar[dict[str, Any]] = {
        "id": common_types.UUIDField(),
        "project_id": fields.StringField(),
        "bgpvpn_id": fields.StringField(),
        "bgpvpn": fields.ObjectField("BGPVPN"),
        "network_id": fields.StringField(),
        "subnets": common_types.ListOfDictOfMiscValuesField(nullable=True),
        **standardattributes.STANDARD_ATTRIBUTES,
    }

    def all_subnets(self, network_id: str) -> list[dict[str, Any]]:
        """The subnets of the network, which is the one that ``network_id`` names."""
        return list(self.subnets or [])


@base.NeutronObjectRegistry.register
class BGPVPNRouterAssociation(StoredObject):
    """All ports of the networks that a router has an interface on are in a BGP VPN.

    ``connected_networks`` says what an event is about. A push of ``deleted`` ends what the association did for the
    networks it lists, and only for those: after the removal of one interface it lists one network, and the association
    goes on for the others.

    The filter ``network_id`` finds associations of routers with an interface on the network, plain, distributed or
    highly available.
    """

    FILTERS = frozenset({"id", "project_id", "bgpvpn_id", "router_id", "network_id"})
    synthetic_fields: ClassVar[list[str]] = ["bgpvpn", "connected_networks"]
    fields: ClassVar[dict[str, Any]] = {
        "id": common_types.UUIDField(),
        "project_id": fields.StringField(),
        "bgpvpn_id": fields.StringField(),
        "bgpvpn": fields.ObjectField("BGPVPN"),
        "router_id": fields.StringField(),
        "connected_networks": common_types.ListOfDictOfMiscValuesField(nullable=True),
        **standardattributes.STANDARD_ATTRIBUTES,
    }

    def all_subnets(self, network_id: str) -> list[dict[str, Any]]:
        """The subnets of one connected network; none if it is not connected."""
        connected = (one for one in self.connected_networks or [] if one["network_id"] == network_id)
        return [subnet for network in connected for subnet in network["subnets"]]


@base.NeutronObjectRegistry.register
class BGPVPNPortAssociation(StoredObject):
    """A port is in a BGP VPN, with its addresses, with routes of its own, or with both.

    The filter ``port_id`` also finds what a router association asks of the port: to be the next hop of extra routes.
    """

    FILTERS = frozenset({"id", "project_id", "bgpvpn_id", "port_id"})
    synthetic_fields: ClassVar[list[str]] = ["bgpvpn", "subnets", "routes"]
    fields: ClassVar[dict[str, Any]] = {
        "id": common_types.UUIDField(),
        "project_id": fields.StringField(),
        "bgpvpn_id": fields.StringField(),
        "bgpvpn": fields.ObjectField("BGPVPN"),
        "port_id": fields.StringField(),
        "subnets": common_types.ListOfDictOfMiscValuesField(nullable=True),
        "routes": fields.ListOfObjectsField("BGPVPNPortAssociationRoute"),
        "advertise_fixed_ips": fields.BooleanField(default=True),
        **standardattributes.STANDARD_ATTRIBUTES,
    }

    def all_subnets(self, network_id: str) -> list[dict[str, Any]]:
        """The subnets of the port's network, which is the one that ``network_id`` names."""
        return list(self.subnets or [])


@base.NeutronObjectRegistry.register
class BGPVPNPortAssociationRoute(ToldObject):
    """A route of a port association: a prefix behind the port, or the routes of another BGP VPN.

    Two routes are equal when they say the same thing: type, prefix and BGP VPN. ``local_pref`` is no part of it.
    """

    synthetic_fields: ClassVar[list[str]] = ["bgpvpn"]
    fields: ClassVar[dict[str, Any]] = {
        "id": common_types.UUIDField(),
        "port_association_id": common_types.UUIDField(),
        "type": _one_of(routes_api.ROUTE_TYPES),
        "prefix": common_types.IPNetworkField(nullable=True, default=None),
        "local_pref": fields.IntegerField(nullable=True),
        "bgpvpn_id": _optional_string(),
        "bgpvpn": fields.ObjectField("BGPVPN", nullable=True, default=None),
    }

    @classmethod
    def get_objects(cls, context: Any, *_: Any, **__: Any) -> list[Self]:
        """Nothing: a route is read with its port association."""
        return []

    def _said(self) -> Hashable:
        return (self.type, str(self.prefix), self.bgpvpn_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BGPVPNPortAssociationRoute) and self._said() == other._said()

    def __ne__(self, other: object) -> bool:
        return not self == other  # a base class has its own idea of it

    def __hash__(self) -> int:
        return hash(self._said())
