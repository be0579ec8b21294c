"""Where neutron-db-manage finds the branch."""
