"""Desired forwarding state on one side, Open vSwitch and the kernel on the other."""
