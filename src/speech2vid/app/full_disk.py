"""A disk that is full: the one failure of the machine that a visitor can do something about, by coming back later."""

from __future__ import annotations

import errno

from speech2vid.errors import OutputError

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
