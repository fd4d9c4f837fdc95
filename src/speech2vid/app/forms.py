"""Forms and answers of the endpoint, as models from which its documentation is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from speech2vid.constants import IDENTITY_STILLS, Landmarks

JSON, VIDEO = "application/json", "video/mp4"
FILE_SCHEMA = {"type": "string", "format": "binary"}


class Fields(BaseModel):
    """Settings in a form, those that all verbs share."""

    model_config = ConfigDict(extra="forbid")
    landmarks: Annotated[
        Landmarks, Field(description="Face detector and landmarks: paper, or mesh, which finds faces at any tilt.")
    ] = "paper"


class VideoFields(Fields):
    """Settings of both verbs that generate a video."""

    face_index: Annotated[int | None, Field(ge=0, description="Which face, counted from 0; see /people.")] = None
    silence: Annotated[Literal["hold", "follow"], Field(description="The mouth where nobody speaks.")] = "hold"
    crf: Annotated[int, Field(ge=0, le=51, description="Quality of the video, 0 is lossless.")] = 18
    label: Annotated[bool, Field(description='A small "AI-generated" in the corner of every frame.')] = False


class TalkFields(VideoFields):
    """Settings of ``/talk``."""

    crop: Annotated[bool, Field(description="The aligned face alone, not the whole image.")] = False
    motion: Annotated[
        Literal["natural", "subtle", "still"], Field(description="Head motion and blinks; still: only the mouth moves.")
    ] = "still"
    seed: Annotated[int, Field(ge=0, description="Seed of the head motion.")] = 0


class RedubFields(VideoFields):
    """Settings of ``/redub``."""

    length: Annotated[Literal["audio", "video", "shortest"], Field(description="Duration of the output.")] = "audio"
    blend: Annotated[Literal["network", "poisson"], Field(description="How the mouth is blended in.")] = "poisson"
    region: Annotated[Literal["lower", "face"], Field(description="The part that Poisson blending may change.")] = (
        "lower"
    )


class SyncFields(Fields):
    """Settings of ``/sync``."""

    fix: Annotated[bool, Field(description="Return the video with its audio moved, not the measurement.")] = False


class Error(BaseModel):
    """The answer to a request that failed."""

    error: str
    hint: str


class JobStatus(BaseModel):
    """A job. Fields that do not apply to its state are left out."""

    id: str
    verb: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    before: Annotated[int | None, Field(description="Jobs that must end first.")] = None
    done: Annotated[int | None, Field(description="Frames.")] = None
    total: int | None = None
    left_s: Annotated[float | None, Field(description="Estimated seconds left.")] = None
    result: Annotated[dict[str, Any] | None, Field(description="Facts about the result.")] = None
    error: str | None = None
    hint: str | None = None


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb of the endpoint.

    Attributes:
        summary: for the documentation.
        files: names of file fields, and how many of each are taken at most.
        fields: settings.
        media: content types of the result.
        any_of: one of the files is enough, and no more are taken.
    """

    summary: str
    files: Mapping[str, int]
    fields: type[Fields] = Fields
    media: tuple[str, ...] = (VIDEO,)
    any_of: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The form, for OpenAPI."""
        files = {
            name: FILE_SCHEMA if most == 1 else {"type": "array", "items": FILE_SCHEMA, "maxItems": most}
            for name, most in self.files.items()
        }
        settings = self.fields.model_json_schema().get("properties", {})
        form = {"type": "object", "properties": {**files, **settings}, "additionalProperties": False}
        form["required"] = [] if self.any_of else list(files)
        return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


VERBS = {
    "talk": Verb("Animate a face photo to speak a recording.", {"face": IDENTITY_STILLS, "audio": 1}, TalkFields),
    "redub": Verb("Re-dub a video: the mouth follows another recording.", {"video": 1, "audio": 1}, RedubFields),
    "sync": Verb("Measure, and correct, the audio offset of a video.", {"video": 1}, SyncFields, (JSON, VIDEO)),
    "people": Verb(
        "Number the people in a video, or the faces in a photo.", {"video": 1, "face": 1}, Fields, (JSON,), True
    ),
}
