"""Flags of a command made from a record of options: each field of ``TalkOptions`` or ``RedubOptions`` is one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from os import PathLike
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from speech2vid.cli.failures import WRONG_USAGE, report
from speech2vid.errors import ConfigError
from speech2vid.inference.options import Flag, Options

Command = Callable[..., None]


def with_options(kind: type[Options]) -> Callable[[Command], Command]:
    """Return a decorator that replaces a command's parameter ``options`` by the flags of a record.

    The parameter ``options`` of the command gets the record.
    """

    def decorate(command: Command) -> Command:
        flags = _parameters(kind)
        names = {parameter.name for parameter in flags}
        signature = inspect.signature(command)
        hints = get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(annotation=hints.get(name, parameter.annotation))
            for name, parameter in signature.parameters.items()
            if name != "options"
        ]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        required = [parameter for parameter in own if parameter.default is inspect.Parameter.empty]
        order = [*required, *flags, *(parameter for parameter in own if parameter not in required)]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            chosen = {name: given.pop(name) for name in list(given) if name in names}
            try:
                options = kind(**chosen)
            except ConfigError as error:  # the sentence that Python gives, with the exit code of wrong usage
                report(error.message, error.hint)
                raise typer.Exit(WRONG_USAGE) from error
            command(options=options, **given)

        run.__signature__ = signature.replace(parameters=order)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in order}
        del run.__wrapped__
        return run

    return decorate


def _parameters(kind: type[Options]) -> list[inspect.Parameter]:
    hints = get_type_hints(kind)
    made = []
    for each in fields(kind):
        flag: Flag = each.metadata["flag"]
        if flag.name == "":
            continue
        name = flag.name or "--" + each.name.replace("_", "-")
        metavar = flag.metavar or (None if flag.most is None else f"{flag.least}-{flag.most}")
        annotation: Any = Annotated[_shown(hints[each.name]), typer.Option(name, help=flag.help, metavar=metavar)]
        made.append(
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=annotation)
        )
    return made


def _shown(hint: Any) -> Any:
    """Return the type that Typer is to read: text where the record takes anything path-like."""
    if get_origin(hint) is Literal:
        return hint
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if any((get_origin(part) or part) is PathLike for part in parts):
        return str | None
    return hint
