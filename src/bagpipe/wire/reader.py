"""The one bounds check of the wire room."""

from __future__ import annotations

from bagpipe.errors import Outcome, RemoteFault


class Reader:
    """Takes bytes from the front of a field; any read past its end is the fault that the maker of the reader named.

    ``code`` and ``subcode`` say which NOTIFICATION the field belongs to (RFC 4271 section 4.5), ``outcome`` what RFC
    7606 asks for when the field is malformed.
    """

    __slots__ = ("_code", "_data", "_end", "_outcome", "_position", "_subcode", "what")

    def __init__(
        self,
        data: bytes,
        what: str,
        *,
        code: int,
        subcode: int,
        outcome: Outcome = Outcome.RESET_SESSION,
    ) -> None:
        self._data = data
        self._position = 0
        self._end = len(data)
        self._code = code
        self._subcode = subcode
        self._outcome = outcome
        self.what = what

    def fault(self, text: str) -> RemoteFault:
        """The fault to raise for this field, with ``text`` after its name."""
        return RemoteFault(f"{self.what}: {text}", outcome=self._outcome, code=self._code, subcode=self._subcode)

    @property
    def remaining(self) -> int:
        """Bytes not yet read."""
        return self._end - self._position

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        end = self._position + size
        if size < 0 or end > self._end:
            raise self.fault(f"{size} bytes wanted, {self.remaining} left")
        piece = self._data[self._position : end]
        self._position = end
        return piece

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.remaining)

    def u8(self) -> int:
        """One octet as a number."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Two octets, network order."""
        return int.from_bytes(self.take(2))

    def u24(self) -> int:
        """Three octets, network order."""
        return int.from_bytes(self.take(3))

    def u32(self) -> int:
        """Four octets, network order."""
        return int.from_bytes(self.take(4))

    def sub(self, size: int, what: str) -> Reader:
        """A reader over the next ``size`` bytes, with the same fault."""
        return Reader(self.take(size), what, code=self._code, subcode=self._subcode, outcome=self._outcome)

    def finish(self) -> None:
        """Raise unless every byte was read."""
        if self.remaining:
            raise self.fault(f"{self.remaining} bytes too many")
