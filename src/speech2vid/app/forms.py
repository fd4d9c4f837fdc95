"""Forms and answers of the endpoint, as models from which its documentation is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from speech2vid.constants import IDENTITY_STILLS
from speech2vid.inference.options import Flag, Options, RedubOptions, TalkOptions
from speech2vid.runtime.weights import SHIPPED_SETS

JSON, VIDEO = "application/json", "video/mp4"
FILE_SCHEMA = {"type": "string", "format": "binary"}


# Options that are the server's own, name files of it, or need networks that it does not have
SERVER_OPTIONS = {
    *("weights", "generator", "engine", "device", "sharpen", "sharpen_area"),
    *("identity", "speakers", "preview", "cache"),
}
MOST = {"max_size_px": 1920}  # bounds that only a server has


class Fields(BaseModel):
    """Settings in a form, those that all verbs share."""

    model_config = ConfigDict(extra="forbid")
    webhook: Annotated[
        str | None,
        Field(description="With wait=false: an address to which the job's state is sent by POST when it has ended."),
    ] = None


def fields_of(kind: type[Options], *names: str) -> type[Fields]:
    """Return the settings of a form for options of a record; without names, for all that are not the server's own."""
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for each in dataclasses.fields(kind):
        flag: Flag = each.metadata["flag"]
        if each.name in SERVER_OPTIONS or (names and each.name not in names):
            continue
        most = MOST.get(each.name, flag.most)
        field = Field(default=each.default, description=flag.help, ge=flag.least, le=most)
        found[each.name] = (hints[each.name], field)
    if not names:
        sets = Field(default=None, description="A set of weights that comes with the package; default: the server's.")
        found["weights"] = (Literal[tuple(SHIPPED_SETS)] | None, sets)
    form: type[Fields] = create_model(f"{kind.__name__.removesuffix('Options')}Fields", __base__=Fields, **found)
    return form


TalkFields, RedubFields = fields_of(TalkOptions), fields_of(RedubOptions)
PeopleFields = fields_of(TalkOptions, "landmarks")


class SyncFields(PeopleFields):  # type: ignore[misc, valid-type]
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
            name: FILE_SCHEMA if most == 1 else {"type": "array", "items": FILE_SCHEMA, "minItems": 1, "maxItems": most}
            for name, most in self.files.items()
        }
        settings = {
            name: _without_null(schema)
            for name, schema in self.fields.model_json_schema().get("properties", {}).items()
        }
        form = {"type": "object", "properties": {**files, **settings}, "additionalProperties": False}
        form["required"] = [] if self.any_of else list(files)
        return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field of a form: it is left out where its value would be null."""
    kinds: list[dict[str, Any]] = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {name: value for name, value in schema.items() if name not in ("anyOf", "default")} | kinds[0]


VERBS = {
    "talk": Verb("Animate a face photo to speak a recording.", {"face": IDENTITY_STILLS, "audio": 1}, TalkFields),
    "redub": Verb("Re-dub a video: the mouth follows another recording.", {"video": 1, "audio": 1}, RedubFields),
    "sync": Verb("Measure, and correct, the audio offset of a video.", {"video": 1}, SyncFields, (JSON, VIDEO)),
    "people": Verb(
        "Number the people in a video, or the faces in a photo.", {"video": 1, "face": 1}, PeopleFields, (JSON,), True
    ),
}
