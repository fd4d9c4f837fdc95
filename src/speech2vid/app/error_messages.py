"""Failures as sentences: what is wrong and what to do, without paths, options of the command line, or tracebacks."""

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

HINTS = {"--face-index": "choose the face in the preview picture, and give only pictures of that one person"}
OURS = re.compile(rf"\S*{PREFIX}\S*")
OPTION = re.compile(r"(?<!\w)--[a-z]")


class Failure(NamedTuple):
    """What a user reads."""

    message: str
    hint: str = ""


def explain(error: BaseException, names: Mapping[Path, str]) -> Failure:
    """A failure for the user.

    Args:
        error: of this library, or anything; the latter is logged with a number, and the user is told the number.
        names: what the user calls the files that the error may name.
    """
    if is_full(error):  # the user did not choose the place
        unexpected(error)
        return Failure("The result could not be written here.", "Try again later, or with a smaller file.")
    if not isinstance(error, Speech2VidError):
        return unexpected(error)
    return Failure(_sentence(error.message, names), _sentence(_hint(error.hint), names))


def unexpected(error: BaseException) -> Failure:
    """For failures that say nothing to a user: a number under which the log has the rest."""
    number = secrets.token_hex(4)
    log.error("page failure %s: %s", number, error, exc_info=error)
    return Failure(
        "Something went wrong that this page cannot explain.",
        f"Try another file. Whoever runs the page finds the reason under number {number} in its log.",
    )


def _hint(hint: str) -> str:
    for option, instead in HINTS.items():
        if option in hint:
            return instead
    return "" if OPTION.search(hint) else hint


def _sentence(text: str, names: Mapping[Path, str]) -> str:
    for path in sorted(names, key=lambda each: len(str(each)), reverse=True):
        text = text.replace(str(path), names[path])
    text = OURS.sub("the file", text).strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that something could not be written for want of room.

    An output that cannot be written counts: the servers write into fresh folders of their own.
    """
    while error is not None:
        if isinstance(error, OutputError) or (isinstance(error, OSError) and error.errno in FULL):
            return True
        error = error.__cause__
    return False
