"""Where a reader of a list has got to, as a word that means nothing to her; it holds only while the list stands."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

import numpy as np
import numpy.typing as npt

from serving.messages import ListPage
from serving.problems import Gone
from serving.scoring import Scorer

Int64s = npt.NDArray[np.int64]


class CursorPage(ListPage):
    """A page of a list; `next_cursor` and `next_offset` are null on the last."""

    next_cursor: str | None


def cursor(snapshot: str, offset: int) -> str:
    """The word for a place in a list as it stood."""
    return base64.urlsafe_b64encode(f"{snapshot}.{offset}".encode()).decode().rstrip("=")


def offset_of(word: str, snapshot: str) -> int:
    """How many members come before the place. Raises Gone."""
    try:
        text = base64.b64decode(word + "=" * (-len(word) % 4), b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeError, ValueError):
        text = ""
    found = re.fullmatch(r"([0-9a-f]{32})\.([0-9]{1,15})", text)
    if not found or found[1] != snapshot:
        raise Gone(
            "cursor: it is of no page of this list as it stands: the list has changed since (new models, events or a "
            "new day). Begin again without a cursor."
        )
    return int(found[2])


def snapshot_of(scorer: Scorer, name: str = "at_risk", positions: Int64s | None = None) -> str:
    """A word for what a scorer's list is made of: 32 hexadecimal digits. A millisecond for a million customers.

    positions: of its members, in their order; of the at-risk list if none are named.
    """
    known = hashlib.blake2b(digest_size=16)
    known.update(repr((name, scorer.as_of, scorer.log.last_ts, scorer.log.n_customers, scorer.models)).encode())
    known.update((scorer.population.at_risk if positions is None else positions).tobytes())
    return known.hexdigest()
