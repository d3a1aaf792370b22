"""What can go wrong at the border, as a tree.

RitornoError            every error a user can mend; its message says found, expected, what to do
├── EventsError         the events cannot be read or are not fit to be loaded
├── StoreError          the event store is missing, damaged or of another format
├── PolicyError         a policy's file cannot be read, or says what no policy can
└── UnknownName         a feature, event, policy field or model that does not exist
"""


class RitornoError(Exception):
    """An error its reader can mend. Commands print it and exit with 2; the service answers 4xx with it."""


class EventsError(RitornoError):
    """The events cannot be read, or too many of them are bad."""


class StoreError(RitornoError):
    """The event store is missing, damaged, locked or of a format this version does not read."""


class PolicyError(RitornoError):
    """A policy's file cannot be read, lacks a field, has one too many, or a value that cannot be."""


class UnknownName(RitornoError):  # noqa: N818  # it reads as what was found
    """A feature, event, column or model was named that does not exist."""
