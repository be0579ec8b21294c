"""Metrics for Prometheus, computed when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from bagpipe.daemon.forwarding import Forwarding
from bagpipe.daemon.plane import Plane
from bagpipe.daemon.views import Seen, route_counts
from bagpipe.wire.message import MessageType


class _SpeakerCollector(Collector):
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def collect(self) -> Iterator[Metric]:
        counts = self.seen.speaker.counts()
        paths = GaugeMetricFamily("bagpipe_paths", "Paths held", labels=["family"])
        for family, number in counts.paths.items():
            paths.add_metric([family], number)
        yield paths
        yield GaugeMetricFamily("bagpipe_attribute_blocks", "Distinct sets of attributes", counts.attribute_blocks)
        yield CounterMetricFamily("bagpipe_warnings", "Warnings and errors logged", self.seen.records.count)
        up = GaugeMetricFamily("bagpipe_peer_up", "1 while the session is established", labels=["peer"])
        flaps = CounterMetricFamily("bagpipe_peer_flaps", "Sessions that ended", labels=["peer"])
        told = GaugeMetricFamily("bagpipe_peer_routes", "Routes the neighbour told", labels=["peer", "family"])
        messages = CounterMetricFamily("bagpipe_peer_messages", "Messages", labels=["peer", "direction", "type"])
        for peer in self.seen.speaker.peers.values():
            counters = peer.neighbor.counters
            up.add_metric([peer.name], peer.negotiated is not None)
            flaps.add_metric([peer.name], counters.flaps)
            for family, number in route_counts(peer).items():
                told.add_metric([peer.name, family], number)
            for direction, numbers in (("received", counters.received), ("sent", counters.sent)):
                for kind, number in numbers.items():
                    messages.add_metric([peer.name, direction, MessageType(kind).name.lower()], number)
        yield from (up, flaps, told, messages)
        if self.seen.forwarding is not None:
            yield from _of_dataplane(self.seen.forwarding)


def _of_dataplane(forwarding: Forwarding) -> Iterator[Metric]:
    instances = GaugeMetricFamily("bagpipe_vpn_instances", "VPN instances", labels=["type"])
    endpoints = GaugeMetricFamily("bagpipe_vpn_endpoints", "Endpoints attached", labels=["type"])
    for type_, held in (("ipvpn", forwarding.vpns.ipvpn.instances), ("evpn", forwarding.vpns.evpn.instances)):
        instances.add_metric([type_], len(held))
        endpoints.add_metric([type_], sum(len(each.endpoints) for each in held.values()))
    yield from (instances, endpoints)
    yield GaugeMetricFamily("bagpipe_attachments", "Attachments in force", len(forwarding.attachments.stated))
    yield from _of_planes(forwarding.planes)


def _of_planes(planes: Iterable[Plane]) -> Iterator[Metric]:
    text = "1 while it can be programmed"
    connected = GaugeMetricFamily("bagpipe_dataplane_connected", text, labels=["type"])
    text = "Records, by what became of them"
    records = GaugeMetricFamily("bagpipe_dataplane_records", text, labels=["type", "state"])
    text = "Refused records tried again"
    retries = CounterMetricFamily("bagpipe_dataplane_retries", text, labels=["type"])
    text = "From sending a batch of changes to its confirmation"
    latencies = HistogramMetricFamily("bagpipe_dataplane_apply_seconds", text, labels=["type"])
    for plane in planes:
        connected.add_metric([plane.name], plane.programmer.connected)
        for state, number in plane.tracker.counts().items():
            records.add_metric([plane.name, state], number)
        retries.add_metric([plane.name], plane.programmer.retries)
        latency, buckets, seen = plane.programmer.latency, [], 0
        for bound, number in zip((*map(str, latency.bounds), "+Inf"), latency.counts, strict=True):
            seen += number
            buckets.append((bound, float(seen)))
        latencies.add_metric([plane.name], buckets, latency.total)
    yield from (connected, records, retries, latencies)


def exposition(seen: Seen) -> tuple[bytes, str]:
    """The metrics as text, and the text's media type."""
    registry = CollectorRegistry()
    registry.register(_SpeakerCollector(seen))
    return generate_latest(registry), CONTENT_TYPE_LATEST
