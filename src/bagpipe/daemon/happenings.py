"""What happens to attachments and to the dataplane, told to whoever watches (the event stream)."""

from __future__ import annotations

from collections.abc import Callable

Watcher = Callable[[str, dict[str, object]], None]


class Happenings:
    """Passes each happening on: its kind, and plain values."""

    def __init__(self) -> None:
        self.watchers: set[Watcher] = set()

    def tell(self, kind: str, value: dict[str, object]) -> None:
        """Something happened."""
        for watcher in list(self.watchers):
            watcher(kind, value)
