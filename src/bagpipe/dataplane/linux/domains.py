"""The broadcast domain of each EVPN instance: its bridge, its VXLAN device and the ports.

Whose a device is can be read from it, so that a restarted daemon knows its own: what we made has an alias that names
the instance, and a VXLAN device of somebody else that we use has a further name of ours. The names of our devices come
from a digest of the instance's name; a device that has such a name and another alias is left alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from errno import EAFNOSUPPORT, EEXIST

from bagpipe.dataplane.linux import links as of
from bagpipe.dataplane.linux.links import Link, Links, PortFlags
from bagpipe.dataplane.linux.netlink import Kernel, Refused, Request
from bagpipe.dataplane.linux.settings import LinuxSettings
from bagpipe.dataplane.model import Bridge, Key, Plug, Port

_ALIAS = "bagpipe:evi:"
_BORROWED = "bagpipe-evi-"
_OURS = re.compile(r"evi[bx]-[0-9a-f]{10}")
_LONGEST = 200
_DEFAULT_MTU = 1500
_FIRST_GROUP = 0x0BA60001
"""Of the groups in which devices are removed: a number that nobody else is likely to use, and that is checked."""

Seen = tuple[object, ...]
"""What a device was like when something was last done about it."""


def digest(name: str) -> str:
    """Ten characters for the name of an instance."""
    return hashlib.blake2s(name.encode(errors="surrogatepass"), digest_size=5).hexdigest()


def _bridge_of(name: str) -> str:
    return f"evib-{digest(name)}"


def _tunnel_of(name: str) -> str:
    return f"evix-{digest(name)}"


def _further_name(name: str) -> str:
    return _BORROWED + digest(name)


def alias_of(name: str) -> str:
    """The alias of what belongs to an instance: its name, if the kernel has room for it and people can read it."""
    return _ALIAS + (name if name.isprintable() and len(name.encode()) <= _LONGEST else digest(name))


def is_ours(link: Link) -> bool:
    """Whether we made a device: it says so, or it has our kind of name and says nothing yet."""
    return link.alias.startswith(_ALIAS) or (not link.alias and _OURS.fullmatch(link.name) is not None)


def borrowed_names(link: Link) -> list[str]:
    """The names that we gave a device of somebody else."""
    return [name for name in link.other_names if name.startswith(_BORROWED)]


@dataclass(slots=True)
class Domain:
    """An instance, with what of it stands. ``why_not`` says why its devices are not there.

    ``bridge`` and ``tunnel`` are indexes; ``answers`` is the interface whose neighbours answer ARP and ND, None if
    nothing would. ``keys`` are the records on it that were asked for, ``locals`` those of MACs at each port, and
    ``ports_of`` the other way round.
    """

    number: int
    wanted: Bridge | None = None
    why_not: str | None = "it is not known"
    bridge: int = 0
    tunnel: int = 0
    answers: int | None = None
    is_borrowed: bool = False
    seen: Seen = ()
    keys: set[Key] = field(default_factory=set)
    locals: dict[str, set[Key]] = field(default_factory=dict)
    ports_of: dict[Key, str] = field(default_factory=dict)

    @property
    def vni(self) -> int:
        """The VNI of the tunnel."""
        return 0 if self.wanted is None else self.wanted.vni

    @property
    def is_given(self) -> bool:
        """Whether somebody else made the bridge, and puts the ports on it."""
        return self.wanted is not None and self.wanted.device is not None

    def place(self, key: Key, port: str) -> None:
        """A MAC is at a port."""
        if self.ports_of.get(key) != port:
            self.displace(key)
            self.ports_of[key] = port
            self.locals.setdefault(port, set()).add(key)

    def displace(self, key: Key) -> None:
        """A MAC is at no port, or not any more."""
        port = self.ports_of.pop(key, None)
        if port is not None:
            self.locals[port].discard(key)
            if not self.locals[port]:
                del self.locals[port]

    def fail(self, why: str) -> None:
        """The devices are not there."""
        self.why_not, self.bridge, self.tunnel, self.answers = why, 0, 0, None

    def check(self) -> None:
        """Raises Refused unless the devices are there."""
        if self.why_not is not None:
            raise Refused(f"the bridge of its instance is not there: {self.why_not}")


class Domains:
    """Makes devices what they should be, touching only what differs. ``follow`` brings ``links`` up to date."""

    def __init__(self, settings: LinuxSettings, kernel: Kernel, links: Links, follow: Callable[[], None]) -> None:
        self.settings = settings
        self.links = links
        self._kernel = kernel
        self._follow = follow
        self._underlay: int | None = None
        self._tunnel_flags = PortFlags(
            learning=False,
            unknown=settings.unknown_unicast == "flood",
            multicast=settings.broadcast == "flood",
            broadcast=settings.broadcast == "flood",
            suppress=settings.suppress,
        )
        self._port_flags = PortFlags(learning=False, unknown=settings.unknown_unicast == "flood")

    def find_underlay(self) -> None:
        """Look which interface has the local address. Raises Unreachable."""
        if self.settings.underlay_mtu is None:
            self._underlay = of.owner_of(self._kernel, self.settings.local_address)

    @property
    def mtu(self) -> int:
        """How large the IP packets of machines may be."""
        size = self.settings.underlay_mtu
        if size is None:
            link = None if self._underlay is None else self.links.by_index.get(self._underlay)
            size = _DEFAULT_MTU if link is None or link.is_loopback else link.mtu
        return size - self.settings.overhead

    # ------------------------------------------------------------------ the bridge and the tunnel

    def seen(self, domain: Domain) -> Seen:
        """What the devices of an instance are like, or those that are in the way of them."""
        wanted, links = domain.wanted, self.links
        if wanted is None:
            return ()
        bridge = links.by_name.get(self._bridge_name(wanted))
        return (
            None if bridge is None else (bridge.index, bridge.kind, bridge.alias, bridge.is_up),
            links.by_name.get(_tunnel_of(wanted.name)),
            *((link.index, link.master, link.flags.suppress) for link in links.by_vni[wanted.vni].values()),
            self.mtu,
        )

    @staticmethod
    def _bridge_name(wanted: Bridge) -> str:
        return wanted.device or _bridge_of(wanted.name)

    def lay(self, domain: Domain, others: Iterable[Domain]) -> bool:
        """Have the devices of an instance; whether they are others than before. ``others`` are all instances.

        Raises Refused, or Unreachable.
        """
        before = domain.bridge, domain.tunnel, domain.answers
        wanted = domain.wanted
        assert wanted is not None
        try:
            if wanted.device is None:
                bridge = self._own_bridge(wanted)
            else:
                bridge = self._given_bridge(wanted.device)
                for other in others:
                    if other is not domain and other.bridge == bridge.index:
                        raise Refused(f"{of.told(bridge)} is that of EVI {other.number}")
            tunnel = self._borrow(wanted, bridge) or self._own_tunnel(wanted, bridge)
        except Refused as why:
            domain.fail(str(why))
            raise
        finally:
            domain.seen = self.seen(domain)
        domain.why_not = None
        domain.bridge, domain.tunnel = bridge.index, tunnel.index
        domain.is_borrowed = not is_ours(tunnel)
        domain.answers = self._answering(domain, tunnel)
        return before != (domain.bridge, domain.tunnel, domain.answers)

    def _answering(self, domain: Domain, tunnel: Link) -> int | None:
        if not self.settings.suppress:
            return None
        if tunnel.tunnel is not None and tunnel.tunnel.proxy:
            return tunnel.index
        return domain.bridge if not domain.is_borrowed or tunnel.flags.suppress else None

    def _given_bridge(self, name: str) -> Link:
        link = self.links.by_name.get(name)
        if link is None:
            raise Refused(f"bridge {name} does not exist")
        if link.kind != "bridge":
            raise Refused(f"{of.told(link)} is not a bridge")
        return link

    def _own_bridge(self, wanted: Bridge) -> Link:
        name = self._bridge_name(wanted)
        link = self._own(name, "bridge", wanted) or self._make(of.new_bridge(name), name)
        return self._finish(link, wanted)

    def _borrow(self, wanted: Bridge, bridge: Link) -> Link | None:
        """A VXLAN device of somebody else that is on the bridge and has the VNI."""
        if wanted.device is None:
            return None
        for link in self.links.by_vni[wanted.vni].values():
            if link.master != bridge.index or is_ours(link):
                continue
            name = _further_name(wanted.name)
            if name not in link.other_names:
                self._do(of.add_name(link.index, name), f"naming {link.name}")
            return self._now(link)
        return None

    def _own_tunnel(self, wanted: Bridge, bridge: Link) -> Link:
        settings = self.settings
        name = _tunnel_of(wanted.name)
        local = settings.local_address.packed
        link = self._own(name, "vxlan", wanted)
        if link is not None and link.tunnel is not None:
            found = link.tunnel
            if (found.vni, found.local, found.port, found.learning) != (wanted.vni, local, settings.vxlan_port, False):
                self._do(of.remove(link.index), f"removing {link.name}")
                link = None
        if link is None:
            try:
                link = self._make(of.new_tunnel(name, wanted.vni, local, settings.vxlan_port), name)
            except Refused as why:
                rivals = [of.told(other) for other in self.links.by_vni[wanted.vni].values()]
                if why.number == EEXIST and rivals:
                    raise Refused(f"VNI {wanted.vni} is in use by {', '.join(rivals)}", EEXIST) from why
                raise
        if link.mtu != self.mtu:
            self._do(of.set_link(link.index, mtu=self.mtu), f"{link.name} with an MTU of {self.mtu}")
        if link.master != bridge.index:
            self._do(of.set_link(link.index, master=bridge.index), f"{link.name} on bridge {bridge.name}")
        if self._now(link).flags != self._tunnel_flags:
            self._do(of.set_port(link.index, self._tunnel_flags), f"{link.name} as a port")
        return self._finish(link, wanted)

    def _own(self, name: str, kind: str, wanted: Bridge) -> Link | None:
        link = self.links.by_name.get(name)
        if link is not None and (link.kind != kind or link.alias not in ("", alias_of(wanted.name))):
            raise Refused(f"{of.told(link)} is in the way: it is not of instance {wanted.name}")
        return link

    def _make(self, request: Request, name: str) -> Link:
        self._do(request, f"making {name}")
        link = self.links.by_name.get(name)
        if link is None:
            raise Refused(f"{name} was made and has gone")
        return link

    def _finish(self, link: Link, wanted: Bridge) -> Link:
        alias = alias_of(wanted.name)
        if link.alias != alias:
            self._quieten(link)
            self._do(of.set_link(link.index, alias=alias), f"marking {link.name}")
        if not link.is_up:
            self._do(of.set_up(link.index), f"bringing {of.told(link)} up")
        return self._now(link)

    def _quieten(self, link: Link) -> None:
        try:
            self._do(of.set_link(link.index, quiet=True), f"{link.name} without IPv6 address")
        except Refused as why:
            # Where the kernel has no IPv6 at all there is nothing to be quiet about.
            if why.number != EAFNOSUPPORT:
                raise

    def _now(self, link: Link) -> Link:
        found = self.links.by_index.get(link.index)
        if found is None:
            raise Refused(f"{link.name} has gone")
        return found

    def _do(self, request: Request, what: str) -> None:
        try:
            self._kernel.tell(request)
        except Refused as why:
            raise Refused(f"{what}: {why}", why.number) from why
        finally:
            self._follow()

    def faults(self, domain: Domain) -> list[str]:
        """What is wrong with the devices of an instance, for people."""
        if domain.why_not is not None:
            return [domain.why_not]
        bridge, tunnel = self.links.by_index.get(domain.bridge), self.links.by_index.get(domain.tunnel)
        if bridge is None or tunnel is None:
            return ["its bridge has gone" if bridge is None else "its VXLAN device has gone"]
        found = [f"{of.told(link)} is down" for link in (bridge, tunnel) if is_ours(link) and not link.is_up]
        if tunnel.master != bridge.index:
            found.append(f"{of.told(tunnel)} is {self._place(tunnel)}, not on {bridge.name}")
        if not domain.is_borrowed and tunnel.flags != self._tunnel_flags:
            found.append(f"{of.told(tunnel)} has {tunnel.flags}, not {self._tunnel_flags}")
        if not domain.is_borrowed and tunnel.mtu != self.mtu:
            found.append(f"{of.told(tunnel)} takes {tunnel.mtu} octets, not {self.mtu}")
        return found

    def obstacles(self, domain: Domain) -> list[str]:
        """What keeps the devices of an instance from working and is not ours to change, for people."""
        links = [self.links.by_index.get(index) for index in (domain.bridge, domain.tunnel)]
        return [
            f"{of.told(link)} is down" for link in links if link is not None and not link.is_up and not is_ours(link)
        ]

    def why_no_answers(self, domain: Domain) -> str:
        """Why no interface answers ARP and ND of an instance, for people."""
        if not self.settings.suppress:
            return "suppress is off"
        return f"{self._name(domain.tunnel)} is of somebody else and has neither proxy nor neigh_suppress"

    def leave(self, wanted: Bridge) -> list[Link]:
        """Give back what an instance has of others; what it has of ours is to be removed. Raises Refused."""
        names = (_tunnel_of(wanted.name), _bridge_of(wanted.name))
        found = [link for name in names if (link := self.links.by_name.get(name)) is not None]
        name = _further_name(wanted.name)
        for link in self.links.called(name):
            self.give_back(link, name)
        return [link for link in found if link.alias in ("", alias_of(wanted.name))]

    def leftovers(self, wanted: list[Bridge]) -> list[Link]:
        """The devices of ours that no wanted instance has."""
        names = {name for bridge in wanted for name in (_bridge_of(bridge.name), _tunnel_of(bridge.name))}
        # An instance that borrows a tunnel, or is given a bridge, needs none of its own.
        standing = {link.index for bridge in wanted if bridge.device for link in self._spare(bridge)}
        ours = [link for link in self.links.by_index.values() if is_ours(link)]
        return [link for link in ours if link.name not in names or link.index in standing]

    def _spare(self, wanted: Bridge) -> list[Link]:
        spare = [self.links.by_name.get(_bridge_of(wanted.name))]
        if self.links.called(_further_name(wanted.name)):
            spare.append(self.links.by_name.get(_tunnel_of(wanted.name)))
        return [link for link in spare if link is not None]

    def unused_names(self, wanted: list[Bridge]) -> list[tuple[Link, str]]:
        """The names of ours at devices of others that no wanted instance uses."""
        names = {_further_name(bridge.name) for bridge in wanted if bridge.device}
        return [
            (link, name) for link in self.links.by_index.values() for name in borrowed_names(link) if name not in names
        ]

    # ------------------------------------------------------------------ ports

    def port_seen(self, port: Port) -> Seen:
        """What the interface of a port is like."""
        link = self.links.by_name.get(port.on_bridge)
        return () if link is None else (link.index, link.master, link.flags)

    def find_port(self, domain: Domain, port: Port, plug: Plug | None = None) -> Link:
        """The interface of a port that is on the bridge of its instance. Raises Refused."""
        link = self.links.by_name.get(port.on_bridge)
        if plug is not None and (plug.shielded or not plug.designated):
            raise Refused("this dataplane takes no ports of a segment that other nodes are attached to as well")
        domain.check()
        if port.vlan is not None:
            raise Refused(f"{port}: this dataplane takes no ports with a VLAN tag; plug the VLAN's own interface")
        if link is None:
            raise Refused(f"interface {port.on_bridge} does not exist")
        if link.master != domain.bridge:
            raise Refused(f"interface {link.name} is {self._place(link)}, not on {self._name(domain.bridge)}")
        return link

    def _name(self, index: int) -> str:
        link = self.links.by_index.get(index)
        return f"interface {index}" if link is None else of.told(link)

    def _place(self, link: Link) -> str:
        return f"on {self._name(link.master)}" if link.master else "on no bridge"

    def plug(self, domain: Domain, port: Port, plug: Plug) -> None:
        """Have a port on the bridge of an instance. Raises Refused."""
        link = self.links.by_name.get(port.on_bridge)
        is_possible = domain.why_not is None and port.vlan is None and plug.designated and not plug.shielded
        if is_possible and not domain.is_given and link is not None:
            if link.master != domain.bridge:
                master = self.links.by_index.get(link.master)
                if master is not None and not is_ours(master):
                    raise Refused(f"interface {link.name} is {self._place(link)}, which somebody else made")
                self._do(of.set_link(link.index, master=domain.bridge), f"{link.name} on {self._name(domain.bridge)}")
            if self._now(link).flags != self._port_flags:
                self._do(of.set_port(link.index, self._port_flags), f"{link.name} as a port")
            if not link.is_up:
                self._do(of.set_up(link.index), f"bringing {link.name} up")
        self.find_port(domain, port, plug)

    def unplug(self, domain: Domain, port: Port) -> None:
        """Take a port off the bridge of an instance, if we put it there. Raises Refused."""
        link = self.links.by_name.get(port.on_bridge)
        if link is not None and not domain.is_given and domain.bridge and link.master == domain.bridge:
            self.release(link)

    def strangers(self, domain: Domain, ports: set[str]) -> list[Link]:
        """The ports of our own bridge that are none of the instance's."""
        if domain.is_given or not domain.bridge:
            return []
        return [
            link
            for link in self.links.ports_of(domain.bridge)
            if link.index != domain.tunnel and link.name not in ports
        ]

    def release(self, link: Link) -> None:
        """Take an interface off its bridge. Raises Refused."""
        self._do(of.set_link(link.index, master=0), f"taking {link.name} off its bridge")

    def remove(self, links: list[Link]) -> None:
        """Remove devices, all in one go: each by itself takes the kernel tens of milliseconds. Raises Refused."""
        if not links:
            return
        group = _FIRST_GROUP
        while any(link.group == group for link in self.links.by_index.values()):
            group += 1
        what = f"removing {', '.join(link.name for link in links[:3])}"
        for link in links:
            self._do(of.set_group(link.index, group), what)
        self._do(of.remove_group(group), what)

    def give_back(self, link: Link, name: str) -> None:
        """Take a name of ours from a device of somebody else. Raises Refused."""
        self._do(of.take_name(link.index, name), f"taking a name from {link.name}")
