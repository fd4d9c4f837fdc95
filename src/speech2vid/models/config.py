"""What a network is built from: a frozen dataclass that its checkpoint carries as JSON."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from speech2vid.errors import ConfigError


@dataclass(frozen=True)
class NetworkConfig:
    """Base of all network settings. Fields are plain JSON values; a ``Literal`` annotation is the list of its choices.

    Raises:
        ConfigError: on a value that is not among the choices, or (``from_dict``) on an unknown key.
    """

    def __post_init__(self) -> None:
        for name, annotation in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if get_origin(annotation) is Literal:
                choices = get_args(annotation)
                if not any(value == choice and type(value) is type(choice) for choice in choices):
                    raise ConfigError(
                        f"{type(self).__name__}.{name} cannot be {value!r}", suggest(str(value), map(str, choices))
                    )
            elif isinstance(annotation, type) and type(value) is not annotation:
                raise ConfigError(
                    f"{type(self).__name__}.{name} cannot be {value!r}", f"give a value of type {annotation.__name__}"
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping; keys left out take their defaults."""
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(f"{cls.__name__} has no setting {key!r}", suggest(key, known))
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """All settings as JSON values, in the order of the fields."""
        return asdict(self)


def suggest(given: str, choices: Iterable[str]) -> str:
    """Return a hint that names the choice nearest to ``given``, or all of them."""
    choices = list(choices)
    near = difflib.get_close_matches(given, choices, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(choices)}"
