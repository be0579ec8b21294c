"""What runs inside Neutron: the service driver (``server``) and the extension of the L2 agent (``agent``).

Both speak to ``bagpipe-bgp`` and to each other over the network alone, in the formats of networking-bagpipe.
"""
