"""OpenFlow 1.5 to an Open vSwitch bridge: an own writer and reader, and one lasting connection.

What flows and groups are made of is in ``fields``, ``matches``, ``actions``, ``instructions``, ``flows`` and
``groups``; :class:`Bridge` programs them and reads them back. ``codec`` and all below it do no I/O; ``link``,
``batches`` and ``bridge`` do, on asyncio. Speaks with Open vSwitch 2.17 and later; does not answer packet-ins, change
ports or meters, or take roles. Port numbers and bridges come from OVSDB, not from here.
"""

from bagpipe.dataplane.openflow.batches import BatchRefused, BatchResult, Change, Fate
from bagpipe.dataplane.openflow.bridge import Bridge, BridgeEvent, Connected, Disconnected, Missed, Ours, Touched
from bagpipe.dataplane.openflow.faults import Refused, SwitchError
from bagpipe.dataplane.openflow.flows import FlowCommand, FlowEntry, FlowFlags, FlowMod, PackedFlow
from bagpipe.dataplane.openflow.groups import DP_HASH, Bucket, GroupCommand, GroupEntry, GroupMod, GroupType, Selection
from bagpipe.dataplane.openflow.instructions import apply
from bagpipe.dataplane.openflow.link import Timing, VersionNotSpoken
from bagpipe.dataplane.openflow.matches import ANYTHING, Match

__all__ = [
    "ANYTHING",
    "DP_HASH",
    "BatchRefused",
    "BatchResult",
    "Bridge",
    "BridgeEvent",
    "Bucket",
    "Change",
    "Connected",
    "Disconnected",
    "Fate",
    "FlowCommand",
    "FlowEntry",
    "FlowFlags",
    "FlowMod",
    "GroupCommand",
    "GroupEntry",
    "GroupMod",
    "GroupType",
    "Match",
    "Missed",
    "Ours",
    "PackedFlow",
    "Refused",
    "Selection",
    "SwitchError",
    "Timing",
    "Touched",
    "VersionNotSpoken",
    "apply",
]
