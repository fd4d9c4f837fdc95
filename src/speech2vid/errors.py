"""Errors that speak to a person: what is wrong, where, and what to do about it."""

from __future__ import annotations


class Speech2VidError(Exception):
    """Base of every error meant for the user. The command line prints ``message`` and ``hint`` and exits with 1.

    Args:
        message: one line that names the input and what is wrong with it.
        hint: one line that says what to do.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[Speech2VidError], tuple[str, str]]:
        return type(self), (self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class MediaError(Speech2VidError):
    """An image, video or audio file cannot be read, or has nothing usable in it."""


class OutputError(Speech2VidError):
    """The output cannot be written."""


class FaceError(Speech2VidError):
    """No usable face, or more than one that could be meant."""


class WeightsError(Speech2VidError):
    """A weight file is missing, damaged, or of another architecture."""


class ConfigError(Speech2VidError):
    """A setting is unknown or impossible."""


class DataError(Speech2VidError):
    """A sample store is missing, damaged or empty."""


class MissingExtraError(Speech2VidError):
    """A command needs an optional extra that is not installed."""


class TrainingError(Speech2VidError):
    """A training cannot go on."""


class TrainingStopped(TrainingError):
    """A training was stopped by a signal, with its checkpoint saved.

    Args:
        signal: number of the signal; the command line exits with 128 + this number.
    """

    def __init__(self, message: str, hint: str, signal: int) -> None:
        super().__init__(message, hint)
        self.signal = signal

    def __reduce__(self) -> tuple[type[TrainingStopped], tuple[str, str, int]]:  # type: ignore[override]
        return type(self), (self.message, self.hint, self.signal)
