"""One BGP neighbour without I/O and clock: transition table, negotiation, timers, collision, graceful restart."""
