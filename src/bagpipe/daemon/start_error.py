"""Why a program cannot start."""

from __future__ import annotations


class StartError(Exception):
    """Something that was asked for cannot be had. The text is one line for the person who started the program."""
