"""Failures as sentences: what is wrong and what to do, without paths, command line options or tracebacks."""

from __future__ import annotations

import errno
import logging
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from speech2vid.app.storage import PREFIX
from speech2vid.errors import OutputError, Speech2VidError

log = logging.getLogger(__name__)

HINTS = {"--face-index": "choose the face in the preview image, and give only images of that one person"}
OURS = re.compile(rf"\S*{PREFIX}\S*")
OPTION = re.compile(r"(?<!\w)--[a-z]")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Failure(NamedTuple):
    """A message and a hint for a user of the page."""

    message: str
    hint: str = ""


def explain(error: BaseException, names: Mapping[Path, str]) -> Failure:
    """Return a failure for a user of the page.

    Args:
        error: of this library, or any; the latter is logged under a number, and the user gets the number.
        names: the user's names of the files that the error may mention.
    """
    if is_full(error):  # the user did not choose the place
        unexpected(error)
        return Failure("The result could not be written here.", "Try again later, or with a smaller file.")
    if not isinstance(error, Speech2VidError):
        return unexpected(error)
    hint = next((instead for option, instead in HINTS.items() if option in error.hint), error.hint)
    return Failure(_sentence(error.message, names), "" if OPTION.search(hint) else _sentence(hint, names))


def unexpected(error: BaseException) -> Failure:
    """Log an error that means nothing to a user, and return a failure with its number in the log."""
    number = secrets.token_hex(4)
    log.error("page failure %s: %s", number, error, exc_info=error)
    return Failure(
        "Something went wrong that this page cannot explain.",
        f"Try another file. Whoever runs the page finds the reason under number {number} in its log.",
    )


def without_paths(text: str, names: Mapping[Path, str]) -> str:
    """Replace paths by the user's names of the files, and other paths of the server's folder by "the file"."""
    for path in sorted(names, key=lambda each: len(str(each)), reverse=True):
        text = text.replace(str(path), names[path])
    return OURS.sub("the file", text).strip()


def is_full(error: BaseException | None) -> bool:
    """Return whether an error, or its cause, says that the disk is full.

    An output that cannot be written counts: the servers write into fresh folders of their own.
    """
    while error is not None:
        if isinstance(error, OutputError) or (isinstance(error, OSError) and error.errno in FULL):
            return True
        error = error.__cause__
    return False


def _sentence(text: str, names: Mapping[Path, str]) -> str:
    text = without_paths(text, names)
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
