"""Drivers of networking-bgpvpn's service plugin on Neutron servers."""
