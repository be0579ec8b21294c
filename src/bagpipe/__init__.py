"""BGP VPNs for OpenStack, on every compute node."""

__version__ = "0.1.0"
