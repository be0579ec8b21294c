"""Metrics for Prometheus, computed when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

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


def exposition(seen: Seen) -> tuple[bytes, str]:
    """The metrics as text, and the text's media type."""
    registry = CollectorRegistry()
    registry.register(_SpeakerCollector(seen))
    return generate_latest(registry), CONTENT_TYPE_LATEST
