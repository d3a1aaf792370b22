"""What can go wrong with a model.

features.errors.RitornoError
└── ModelError          a model is missing, of another format, or was made for other features
"""

from features.errors import RitornoError


class ModelError(RitornoError):
    """A model cannot be used here; the message says what differs."""
