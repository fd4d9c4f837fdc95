"""Is a video marked or signed as synthetic, and is it unchanged?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from speech2vid.media.credentials import Credentials, read_credentials
from speech2vid.media.sources import AnyFile, AnyPath, source_of
from speech2vid.media.synthetic_metadata import read_synthetic_metadata

Verdict = Literal["signed", "tampered", "stripped", "marked", "none"]


@dataclass(frozen=True)
class Verification:
    """What a file says of itself.

    Attributes:
        verdict: ``signed``: signed as synthetic, and unchanged since; ``tampered``: changed after signing;
            ``stripped``: was signed, and the signature is missing; ``marked``: says that it is synthetic; ``none``:
            says nothing, which proves nothing.
        mark: the mark of speech2vid, or None.
        credentials: the Content Credentials, or None.
    """

    verdict: Verdict
    mark: dict[str, Any] | None
    credentials: Credentials | None

    @property
    def synthetic(self) -> bool:
        """Whether it says that it is synthetic."""
        return self.mark is not None or (self.credentials is not None and self.credentials.synthetic)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "verdict": self.verdict,
            "synthetic": self.synthetic,
            "mark": self.mark,
            "credentials": None if self.credentials is None else asdict(self.credentials),
        }


def verify(file: AnyFile, roots: AnyPath | None = None) -> Verification:
    """Check whether a video is marked or signed as synthetic, and whether it was changed after signing.

    A missing mark proves nothing: re-encoding or uploading may remove it.

    Args:
        file: a path, bytes or a binary file object.
        roots: PEM file of the root certificates to trust.

    Raises:
        MediaError: the file cannot be read. ConfigError: ``roots`` cannot be used.
    """
    source = source_of(file, "video")
    mark = read_synthetic_metadata(source)
    credentials = read_credentials(source, None if roots is None else Path(roots))
    return Verification(_verdict(mark, credentials), mark, credentials)


def _verdict(mark: dict[str, Any] | None, credentials: Credentials | None) -> Verdict:
    if credentials is not None and credentials.state == "tampered":
        return "tampered"
    if credentials is not None and credentials.synthetic:
        return "signed"
    if mark is None:
        return "none"
    return "stripped" if credentials is None and mark.get("signed") else "marked"
