"""Routes: what was learned, which is best and why, and what to tell whom. No I/O, no clock, no log."""
