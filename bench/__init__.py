"""Measures the speaker and the reflector beside the programs that operators know, in one run on one machine."""
