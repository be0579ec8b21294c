"""Metrics for Prometheus, computed when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from bagpipe.daemon.forwarding import Forwarding
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
    instances, programmer = forwarding.instances.instances, forwarding.programmer
    yield GaugeMetricFamily("bagpipe_vpn_instances", "VPN instances", len(instances))
    endpoints = sum(len(instance.endpoints) for instance in instances.values())
    yield GaugeMetricFamily("bagpipe_vpn_endpoints", "Endpoints attached", endpoints)
    yield GaugeMetricFamily("bagpipe_attachments", "Attachments in force", len(forwarding.attachments.stated))
    yield GaugeMetricFamily("bagpipe_dataplane_connected", "1 while it can be programmed", programmer.connected)
    records = GaugeMetricFamily("bagpipe_dataplane_records", "Records, by what became of them", labels=["state"])
    for state, number in forwarding.tracker.counts().items():
        records.add_metric([state], number)
    yield records
    yield CounterMetricFamily("bagpipe_dataplane_retries", "Refused records tried again", programmer.retries)
    latency, buckets, seen = programmer.latency, [], 0
    for bound, number in zip((*map(str, latency.bounds), "+Inf"), latency.counts, strict=True):
        seen += number
        buckets.append((bound, float(seen)))
    name, text = "bagpipe_dataplane_apply_seconds", "From sending a batch of changes to its confirmation"
    yield HistogramMetricFamily(name, text, buckets=buckets, sum_value=latency.total)


def exposition(seen: Seen) -> tuple[bytes, str]:
    """The metrics as text, and the text's media type."""
    registry = CollectorRegistry()
    registry.register(_SpeakerCollector(seen))
    return generate_latest(registry), CONTENT_TYPE_LATEST
