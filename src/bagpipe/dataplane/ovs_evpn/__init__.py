"""EVPN instances on an Open vSwitch bridge: Neutron's ``br-tun``, beside Neutron's own flows, or one of our own.

``driver`` is the door; ``pipeline`` tells what the flows do in either way of working.
"""
