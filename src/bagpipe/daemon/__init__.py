"""The daemon: TCP, timers, configuration, the read-only HTTP interface, start and stop."""
