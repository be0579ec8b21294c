"""What neighbours are told: reflection, route target membership, split horizon, slow members."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from bagpipe.rib import update_group as module
from bagpipe.rib.adj_rib_in import AdjRibIn, Gate
from bagpipe.rib.bundle import Origin
from bagpipe.rib.export import Profile
from bagpipe.rib.membership import Membership
from bagpipe.rib.store import Store
from bagpipe.rib.update_group import Member, UpdateGroup
from bagpipe.wire import update
from bagpipe.wire.attributes import Context, walk
from bagpipe.wire.family import RTC, VPNV4
from bagpipe.wire.nlri import CODECS
from tests.unit.rib.routes import announcement, attribute, body, common, key, route_target, withdrawal

REFLECTOR = IPv4Address("10.0.0.100").packed
CLUSTER = IPv4Address("10.0.0.200").packed
CLIENTS = Profile(
    is_ibgp=True,
    is_client=True,
    four_octet_as=True,
    maximum_message=4096,
    reflector=True,
    local_as=64512,
    router_id=REFLECTOR,
    cluster_id=CLUSTER,
)
FAMILIES = frozenset((VPNV4, RTC))


class Ear:
    """A member that follows what it is told: the state a real neighbour would hold."""

    def __init__(self, group: UpdateGroup, name: str, *, constrained: bool = False) -> None:
        self.group = group
        self.member: Member = group.join(name, FAMILIES, Membership(constrained=constrained), ipv6_next_hops=False)
        self.routes: dict[bytes, dict[int, bytes]] = {}
        self.needless = 0

    def listen(self, most: int = 1 << 30) -> int:
        """Take messages until there are none (or ``most`` chunks); how many octets that was."""
        octets = 0
        for _ in range(most):
            data = self.group.next_for(self.member)
            if not data:
                break
            octets += len(data)
            while data:
                size = int.from_bytes(data[16:18])
                self._read(data[19:size])
                data = data[size:]
        return octets

    def _read(self, message: bytes) -> None:
        parts = update.take_apart(message)
        if parts.reach is not None and parts.reach.family == VPNV4:
            attributes = {code: value for _, code, value in walk(parts.block)}
            for _, keys, _ in CODECS[VPNV4].split(parts.reach.nlri):
                for one in keys:
                    self.routes[one] = attributes
        if parts.unreach is not None and parts.unreach[0] == VPNV4:
            for _, keys in CODECS[VPNV4].split_withdrawn(parts.unreach[1]):
                for one in keys:
                    self.needless += self.routes.pop(one, None) is None


def neighbour(store: Store, number: int, *, client: bool = True, ibgp: bool = True) -> AdjRibIn:
    router_id = IPv4Address(f"10.255.0.{number}").packed
    origin = Origin(f"peer{number}", False, ibgp, client, router_id, router_id)
    return AdjRibIn(store, origin, Gate(64512, REFLECTOR, CLUSTER, ibgp), Context(True, ibgp), FAMILIES, frozenset())


def hosts(*numbers: int) -> set[bytes]:
    return {key(f"10.0.0.{number}") for number in numbers}


def test_a_client_hears_the_others_with_originator_and_cluster_list() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    speaker, listener = neighbour(store, 1), Ear(group, "peer2")

    speaker.learn([announcement("10.0.0.1", clusters=("10.1.1.1",))])
    listener.listen()

    attributes = listener.routes[key("10.0.0.1")]
    assert attributes[9] == speaker.source.origin.router_id
    assert attributes[10] == CLUSTER + IPv4Address("10.1.1.1").packed


def test_an_originator_that_is_there_already_stays() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    speaker, listener = neighbour(store, 1), Ear(group, "peer2")

    speaker.learn([announcement("10.0.0.1", originator="198.51.100.1")])
    listener.listen()

    assert listener.routes[key("10.0.0.1")][9] == IPv4Address("198.51.100.1").packed


def test_a_neighbour_does_not_hear_its_own_routes() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    one, two = Ear(group, "peer1"), Ear(group, "peer2")
    speaker = neighbour(store, 1)

    speaker.learn([announcement("10.0.0.1")])
    one.listen()
    two.listen()

    assert one.routes == {}
    assert set(two.routes) == hosts(1)


def test_when_the_best_route_becomes_its_own_a_neighbour_hears_a_withdrawal() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    ear = Ear(group, "peer1")
    one, two = neighbour(store, 1), neighbour(store, 2)

    two.learn([announcement("10.0.0.1")])
    ear.listen()
    assert set(ear.routes) == hosts(1)
    one.learn([announcement("10.0.0.1", local_pref=300)])
    ear.listen()

    assert ear.routes == {}
    assert ear.needless == 0


def test_routes_go_between_non_clients_only_through_clients() -> None:
    store = Store()
    non_clients = UpdateGroup(store, replace(CLIENTS, is_client=False))
    ear = Ear(non_clients, "peer9")

    neighbour(store, 1, client=False).learn([announcement("10.0.0.1")])
    neighbour(store, 2, client=True).learn([announcement("10.0.0.2")])
    ear.listen()

    assert set(ear.routes) == hosts(2)


def test_who_is_no_reflector_passes_nothing_on() -> None:
    store = Store()
    ear = Ear(UpdateGroup(store, replace(CLIENTS, reflector=False)), "peer2")

    neighbour(store, 1).learn([announcement("10.0.0.1")])

    assert ear.listen() == 0


def test_one_encoding_serves_every_member() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    ears = [Ear(group, f"ear{i}") for i in range(10)]
    for ear in ears:
        ear.listen()

    neighbour(store, 1).learn([announcement("10.0.0.1", "10.0.0.2", "10.0.0.3")])
    told = [group.next_for(ear.member) for ear in ears]

    assert told[0]
    assert all(data is told[0] for data in told)


def membership(number: int) -> bytes:
    return b"\x60" + (64512).to_bytes(4) + route_target(number)


def ask(ear: Ear, *keys: bytes, added: bool = True) -> None:
    table = ear.group._store.table(RTC, 0)
    ear.group.membership_changed(ear.member, table, keys, added=added)


def test_a_constrained_member_hears_only_what_it_asked_for() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    ear = Ear(group, "peer2", constrained=True)
    speaker = neighbour(store, 1)

    speaker.learn([announcement("10.0.0.1", rt=(1,)), announcement("10.0.0.2", rt=(2,))])
    assert ear.listen() == 0
    ask(ear, membership(1))
    ear.listen()
    assert set(ear.routes) == hosts(1)
    ask(ear, membership(2))
    ear.listen()
    assert set(ear.routes) == hosts(1, 2)
    ask(ear, membership(1), added=False)
    ear.listen()

    assert set(ear.routes) == hosts(2)
    assert ear.needless == 0


def test_a_route_that_leaves_the_membership_is_withdrawn() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    ear = Ear(group, "peer2", constrained=True)
    ask(ear, membership(1))
    speaker = neighbour(store, 1)

    speaker.learn([announcement("10.0.0.1", rt=(1,))])
    ear.listen()
    assert set(ear.routes) == hosts(1)
    speaker.learn([announcement("10.0.0.1", rt=(2,))])
    ear.listen()

    assert ear.routes == {}


def test_the_default_membership_brings_everything_even_without_route_target() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    ear = Ear(group, "peer2", constrained=True)
    neighbour(store, 1).learn([announcement("10.0.0.1"), announcement("10.0.0.2", rt=())])

    ask(ear, b"\0")
    ear.listen()
    assert set(ear.routes) == hosts(1, 2)
    ask(ear, b"\0", added=False)
    ear.listen()

    assert ear.routes == {}


def test_a_shorter_membership_covers_the_route_targets_it_prefixes() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    ear = Ear(group, "peer2", constrained=True)
    neighbour(store, 1).learn([announcement("10.0.0.1", rt=(0x100,)), announcement("10.0.0.2", rt=(0x20000,))])

    ask(ear, b"\x50" + (64512).to_bytes(4) + route_target(0)[:6])
    ear.listen()

    assert set(ear.routes) == hosts(1)


def test_a_new_member_hears_what_was_there_before() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    neighbour(store, 1).learn([announcement("10.0.0.1", "10.0.0.2")])

    ear = Ear(group, "late")
    ear.listen()

    assert set(ear.routes) == hosts(1, 2)


def test_end_of_rib_follows_the_first_routes() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    neighbour(store, 1).learn([announcement("10.0.0.1")])
    ear = Ear(group, "late")
    ear.member.after.append((update.end_of_rib(VPNV4), VPNV4))

    first, second = group.next_for(ear.member), group.next_for(ear.member)

    assert update.take_apart(first[19:]).reach is not None
    assert update.take_apart(second[19:]).end_of_rib == VPNV4


def test_a_silent_member_costs_a_bounded_amount_and_ends_in_the_last_state() -> None:
    """One member never reads while routes flap; the other keeps up."""
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    dead, alive = Ear(group, "dead"), Ear(group, "alive")
    dead.listen()
    speaker = neighbour(store, 1)
    prefixes = [f"10.0.{i >> 8}.{i & 255}" for i in range(300)]

    for turn in range(2000):
        speaker.learn([announcement(*prefixes[turn % 250 : turn % 250 + 50], label=turn + 16)])
        alive.listen()
        assert len(group._segments) <= module.SEGMENTS_KEPT + 1
    speaker.learn([withdrawal(*prefixes[:10])])
    alive.listen()

    assert sum(map(len, dead.member.backlog.values())) <= len(prefixes)
    dead.listen()
    assert set(dead.routes) == set(alive.routes) == set(store.table(VPNV4, 120).entries)
    assert group._segments == type(group._segments)()


def test_a_member_that_lagged_hears_withdrawals_of_what_it_had() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    slow = Ear(group, "slow")
    speaker = neighbour(store, 1)
    speaker.learn([announcement("10.0.0.1", "10.0.0.2")])
    slow.listen()
    other = Ear(group, "other")
    other.listen()

    for turn in range(module.SEGMENTS_KEPT + 5):
        speaker.learn([announcement("10.0.0.9", label=turn + 16)])
        other.listen()
    speaker.learn([withdrawal("10.0.0.1")])
    other.listen()
    slow.listen()

    assert set(slow.routes) == hosts(2, 9) == set(other.routes)


def test_a_member_that_left_is_not_waited_for() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    gone, stays = Ear(group, "gone"), Ear(group, "stays")
    gone.listen()
    neighbour(store, 1).learn([announcement("10.0.0.1")])
    stays.listen()

    group.leave(gone.member)

    assert len(group._segments) == 0
    again = Ear(group, "gone")
    again.listen()
    assert set(again.routes) == hosts(1)


def test_a_refresh_tells_everything_again() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    ear = Ear(group, "peer2")
    neighbour(store, 1).learn([announcement("10.0.0.1")])
    ear.listen()
    ear.routes.clear()

    group.tell_again(ear.member, VPNV4)
    ear.listen()

    assert set(ear.routes) == hosts(1)


def test_a_membership_is_reflected_to_its_own_author_under_the_reflectors_name() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    ear = Ear(group, "peer1", constrained=True)
    speaker = neighbour(store, 1)
    field = b"\x00\x01\x84\x04" + bytes((192, 0, 2, 1)) + b"\0" + membership(5)

    speaker.learn([body(common(), attribute(0x80, 14, field))])
    message = group.next_for(ear.member)

    parts = update.take_apart(message[19:])
    assert parts.reach is not None
    assert (parts.reach.family, parts.reach.next_hop, parts.reach.nlri) == (RTC, REFLECTOR, membership(5))
    assert {code: value for _, code, value in walk(parts.block)}[9] == REFLECTOR


def test_external_neighbours_get_our_as_and_no_internal_attributes() -> None:
    store = Store()
    group = UpdateGroup(store, replace(CLIENTS, is_ibgp=False, is_client=False))
    ear = Ear(group, "peer2")

    neighbour(store, 1).learn([announcement("10.0.0.1", originator="198.51.100.1")])
    ear.listen()

    attributes = ear.routes[key("10.0.0.1")]
    assert attributes[2] == b"\x02\x01" + (64512).to_bytes(4)
    assert not {5, 9, 10} & set(attributes)


def test_old_neighbours_get_two_octet_paths() -> None:
    store = Store()
    group = UpdateGroup(store, replace(CLIENTS, four_octet_as=False))
    ear = Ear(group, "peer2")
    path = b"\x02\x01" + (4_200_000_001).to_bytes(4)

    neighbour(store, 1).learn([announcement("10.0.0.1", as_path=path)])
    ear.listen()

    attributes = ear.routes[key("10.0.0.1")]
    assert attributes[2] == b"\x02\x01\x5b\xa0"
    assert attributes[17] == path


def test_a_non_client_hears_a_clients_membership_although_a_non_clients_is_better() -> None:
    """RFC 4684 section 3.2, second rule for reflectors."""
    store = Store()
    group = UpdateGroup(store, replace(CLIENTS, is_client=False))
    ear = Ear(group, "peer9", constrained=True)
    field = b"\x00\x01\x84\x04" + bytes((192, 0, 2, 1)) + b"\0" + membership(5)

    neighbour(store, 1, client=False).learn([body(common(local_pref=200), attribute(0x80, 14, field))])
    assert group.next_for(ear.member) == b""
    client = neighbour(store, 2)
    client.learn([body(common(local_pref=100), attribute(0x80, 14, field))])
    parts = update.take_apart(group.next_for(ear.member)[19:])

    assert {code: value for _, code, value in walk(parts.block)}[9] == client.source.origin.router_id


def test_members_that_come_together_share_the_list_of_what_they_have_to_hear() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    neighbour(store, 1).learn([announcement("10.0.0.1", "10.0.0.2")])

    ears = [Ear(group, f"ear{number}") for number in range(5)]

    assert len({id(walk.keys) for ear in ears for walk in ear.member.walks}) == 1
    neighbour(store, 2).learn([announcement("10.0.0.3", rd=2)])
    for ear in ears:
        ear.listen()
        assert set(ear.routes) == hosts(1, 2) | {key("10.0.0.3", rd=2)}
