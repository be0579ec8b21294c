"""What runs in the Neutron L2 agent of a compute node: the extension, and the link to the daemon."""
