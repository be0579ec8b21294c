"""IP VPNs on an Open vSwitch bridge.

``driver`` is the door; ``pipeline`` tells what the flows do. ``records``, ``routes``, ``next_hops`` and ``groups`` turn
records into flows and groups, ``plan`` orders them, ``adoption`` and ``inspection`` compare them with what the bridge
holds. ``ports`` (OVSDB) and ``neighbours`` (netlink) are the ``ground`` on which records stand.
"""
