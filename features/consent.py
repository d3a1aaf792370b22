"""Whether a customer may be written to, channel by channel: what she said last, by as_of.

`consent_granted` and `consent_revoked` speak of the channel that they name if it is one of CHANNELS, otherwise of all;
`email_unsubscribed` of e-mail. A channel of which nothing was said is unknown, and not allowed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.events import CHANNEL_NAMES, EVENT_NAMES, FIRST_CUSTOM
from features.log import EventLog

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

CHANNELS = ("email", "sms", "push", "phone", "post")
GRANTED, REVOKED, UNSUBSCRIBED = map(
    EVENT_NAMES.index, ("consent_granted", "consent_revoked", "email_unsubscribed")
)  # fmt: skip
UNKNOWN, YES, NO = range(3)
ANSWERS = (None, True, False)


def contact_codes(log: EventLog, as_of: int) -> Floats:
    """What each customer has said, as one number each: a digit to the base 3 a channel. Shape (n_customers,)."""
    owner, event, channel = _said(log, as_of)
    named = np.full(256, -1)
    for place, name in enumerate(CHANNELS):
        if (code := _code(log, name)) is not None:
            named[code] = place
    about = np.where(event == UNSUBSCRIBED, CHANNELS.index("email"), named[channel])
    codes = np.zeros(log.n_customers)
    for place in range(len(CHANNELS)):
        heard = np.flatnonzero((about == place) | (about == -1))
        digit = np.zeros(log.n_customers)
        digit[owner[heard]] = np.where(event[heard] == GRANTED, YES, NO)  # in the order of time: the last one stays
        codes += digit * 3**place
    return codes


def contactable(code: float) -> dict[str, bool | None]:
    """A number of `contact_codes` in words: per channel whether she may be written to; None if nobody knows."""
    return {name: ANSWERS[int(code) // 3**place % 3] for place, name in enumerate(CHANNELS)}


def _said(log: EventLog, as_of: int) -> tuple[Int64s, Int64s, Int64s]:
    """Whose, which and by what channel: the events that speak of it, up to as_of."""
    rows = slice(None) if log.is_compact else log.rows_of(np.arange(log.n_customers))
    event = log.columns["event"][rows]
    found = np.flatnonzero((event == GRANTED) | (event == REVOKED) | (event == UNSUBSCRIBED))
    found = found[np.asarray(log.columns["ts"][rows][found], np.int64) <= as_of]
    owner = np.searchsorted(np.cumsum(log.sizes), found, side="right")
    return owner, event[found].astype(np.int64), log.columns["channel"][rows][found].astype(np.int64)


def _code(log: EventLog, name: str) -> int | None:
    """The stored code of a channel; None if this log has none of that name."""
    if name in CHANNEL_NAMES:
        return CHANNEL_NAMES.index(name)
    return FIRST_CUSTOM + log.channels.index(name) if name in log.channels else None
