"""What can go wrong while serving.

features.errors.RitornoError
├── PublishError        the registry cannot be read, lacks a champion, or holds one that cannot be served
│   └── Refused         the champions were downloaded and found bad: only other versions help
├── NotReady            no model is loaded yet
│   └── NotStored       posted events, a job or a request for erasure could not be written to the disk
├── StateError          the database of keys and audit cannot be used
└── RequestError        one item of a request cannot be answered; `code` is from a closed list
"""

from __future__ import annotations

from typing import Literal

from features.errors import RitornoError

Code = Literal["unknown_customer", "invalid_events", "repeated_customer"]


class PublishError(RitornoError):
    """The champions cannot be published; what was served before stays."""


class Refused(PublishError):  # noqa: N818  # it reads as what was found
    """The champions were downloaded and cannot be served, now or later."""


class NotReady(RitornoError):  # noqa: N818  # it reads as what was found
    """There is nothing to answer with yet."""


class NotStored(NotReady):
    """What came is not on the disk; nothing of its request is."""


class StateError(RitornoError):
    """The database of keys and audit cannot be used."""


class RequestError(RitornoError):
    """One item of a request cannot be answered."""

    def __init__(self, code: Code, message: str) -> None:
        """`code` says which kind, for programs; the message says what to change, for people."""
        super().__init__(message)
        self.code: Code = code
