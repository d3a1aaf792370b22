"""Where a reader of a list has got to, as a word that means nothing to her; it holds only while the list stands."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from serving.problems import Gone, Malformed
from serving.records import ListPage
from serving.scoring import Scorer


class CursorPage(ListPage):
    """A page of a list; `next_cursor` and `next_offset` are null on the last."""

    next_cursor: str | None


def cursor(snapshot: str, offset: int) -> str:
    """The word for a place in a list as it stood."""
    return base64.urlsafe_b64encode(f"{snapshot}.{offset}".encode()).decode().rstrip("=")


def offset_of(word: str, snapshot: str) -> int:
    """How many members come before the place. Raises Malformed, Gone."""
    try:
        text = base64.b64decode(word + "=" * (-len(word) % 4), b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeError, ValueError):
        text = ""
    found = re.fullmatch(r"([0-9a-f]{32})\.([0-9]{1,15})", text)
    if not found:
        raise Malformed("cursor", "cursor: expected the next_cursor of a page, as it was given. Or leave it out.")
    if found[1] != snapshot:
        raise Gone(
            "cursor: the list has changed since its page was given (new models, events or day). "
            "Begin again without a cursor."
        )
    return int(found[2])


def snapshot_of(scorer: Scorer) -> str:
    """A word for what a scorer's lists are made of: 32 hexadecimal digits. A millisecond for a million customers."""
    known = hashlib.blake2b(digest_size=16)
    known.update(repr((scorer.as_of, scorer.log.last_ts, scorer.log.n_customers, scorer.models)).encode())
    known.update(scorer.population.at_risk.tobytes())
    return known.hexdigest()
