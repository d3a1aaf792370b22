"""Customer ids as one block of bytes: sorted, found by binary search, nothing decoded until asked for."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt


class CustomerIds(Sequence[str]):
    """Customer ids, sorted by their UTF-8 bytes; `find` is a binary search, and nothing is decoded until asked for."""

    def __init__(self, blob: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> None:
        """From all ids' bytes, one after the other, and where each ends; ends begins with 0."""
        self.blob, self.ends = blob, ends
        self._view = blob.data

    def __reduce__(self) -> tuple[type[CustomerIds], tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
        """For another process: the view is made anew there."""
        return CustomerIds, (self.blob, self.ends)

    @classmethod
    def of(cls, ids: Sequence[str]) -> CustomerIds:
        """From ids that are already sorted by their UTF-8 bytes."""
        encoded = [name.encode() for name in ids]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def raw(self, position: int) -> bytes:
        """The UTF-8 bytes of one id."""
        return bytes(self._view[self.ends[position] : self.ends[position + 1]])

    def find(self, customer_id: str) -> int | None:
        """The position of an id; None if this log has no such customer."""
        try:
            key = customer_id.encode()
        except UnicodeEncodeError:  # a lone surrogate is no id of ours
            return None
        position = bisect.bisect_left(range(len(self)), key, key=self.raw)
        return position if position < len(self) and self.raw(position) == key else None

    def __len__(self) -> int:
        """How many ids there are."""
        return len(self.ends) - 1

    def __getitem__(self, position):  # type: ignore[no-untyped-def]  # a Sequence overloads this for slices
        """One id, or a list of them for a slice."""
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        if position < 0 or position >= len(self):
            raise IndexError(position)
        return self.raw(position).decode()

    def __iter__(self) -> Iterator[str]:
        """The ids in order."""
        blob, ends = self.blob.tobytes(), self.ends.tolist()
        return (blob[start:end].decode() for start, end in pairwise(ends))

    def joined(self, others: Sequence[bytes]) -> tuple[CustomerIds, list[int]]:
        """With other ids among them (new here, distinct, sorted by bytes), and before which of ours each one goes."""
        places = [bisect.bisect_left(range(len(self)), key, key=self.raw) for key in others]
        edges = [0, *(int(self.ends[place]) for place in places), int(self.ends[-1])]
        pieces: list[npt.NDArray[np.uint8]] = []
        for (start, end), key in zip(pairwise(edges), (*others, b""), strict=True):
            pieces += [self.blob[start:end], np.frombuffer(key, np.uint8)]
        lengths = np.insert(np.diff(self.ends), places, [len(key) for key in others])
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return CustomerIds(np.concatenate(pieces), ends), places
