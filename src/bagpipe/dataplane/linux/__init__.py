"""EVPN instances on the bridges and VXLAN devices of the Linux kernel.

``driver`` is the door. ``domains`` makes the devices of an instance, ``records`` turns the rest into orders (messages
of ``entries``, groups of ``next_hops``), ``adoption`` and ``inspection`` compare with what the kernel holds, ``watch``
finds what others have changed. ``netlink`` carries it all; ``ground`` is what the driver stands on while it is started.
"""
