"""The session without I/O: table, negotiation, timers, collision, errors."""
