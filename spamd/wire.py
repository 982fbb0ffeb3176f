"""Domain values <-> JSON values by their annotations: one vocabulary for API, trainer lines and model cards.

Strict: a wrong type, a missing or unknown field or an unknown word is a RequestError that says where.
bytes travel as base64, sets as sorted lists, numbers must be finite.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import enum
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union

from spamd.errors import RequestError

T = TypeVar("T")


def to_json(value: object) -> Any:
    """What json.dumps can write. TypeError for something that is not a domain value (our own fault)."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RequestError(f"The number {value} cannot be written as JSON.")
        return float(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_json(getattr(value, name)) for name in _fields(type(value))}
    if isinstance(value, Mapping):
        return {str(to_json(key)): to_json(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted((to_json(item) for item in value), key=str)
    if isinstance(value, Sequence):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no domain value")


def from_json(cls: type[T], data: object, *, ignore_unknown: bool = False) -> T:
    """The value of type `cls` that `data` (from json.loads) describes.

    ignore_unknown: pass over fields that a newer version may have written.
    """
    return typing.cast(T, _read(cls, data, "", ignore_unknown))


@functools.cache
def _fields(cls: type) -> dict[str, tuple[Any, bool]]:
    """Name -> (annotation, must be given)."""
    hints = typing.get_type_hints(cls)
    return {
        field.name: (
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(cls)
        if field.init
    }


def _read(hint: Any, data: object, where: str, lax: bool) -> object:
    while isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return _read_union(hint, data, where, lax)
    if origin is typing.Literal:
        return _read_literal(typing.get_args(hint), data, where)
    if origin is not None:
        return _read_collection(origin, typing.get_args(hint), data, where, lax)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _read_dataclass(hint, data, where, lax)
    return _read_plain(hint, data, where)


def _read_plain(hint: Any, data: object, where: str) -> object:
    if hint is Any or hint is object:
        return data
    if hint is None or hint is type(None):
        if data is None:
            return None
        raise _wrong(where, "nothing (null)", data)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(data)
        except ValueError:
            raise _wrong(where, "one of " + ", ".join(repr(one.value) for one in hint), data) from None
    if hint is float and isinstance(data, int | float) and not isinstance(data, bool):
        try:
            number = float(data)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    elif hint is bytes and isinstance(data, str):
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise _wrong(where, "base64 text", data) from None
    elif hint is Path and isinstance(data, str):
        return Path(data)
    elif hint in (str, bool, int) and type(data) is hint:
        return data
    words = {
        str: "text",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        bytes: "base64 text",
    }
    raise _wrong(where, words.get(hint, str(hint)), data)


def _read_literal(choices: Sequence[object], data: object, where: str) -> object:
    for choice in choices:
        if type(choice) is type(data) and choice == data:
            return choice
    raise _wrong(where, "one of " + ", ".join(repr(choice) for choice in choices), data)


def _read_union(hint: Any, data: object, where: str, lax: bool) -> object:
    choices = typing.get_args(hint)
    if data is None and type(None) in choices:
        return None
    rest = [choice for choice in choices if choice is not type(None)]
    if len(rest) == 1:
        return _read(rest[0], data, where, lax)
    for choice in rest:
        try:
            return _read(choice, data, where, lax)
        except RequestError:
            continue
    raise _wrong(where, " or ".join(getattr(choice, "__name__", str(choice)) for choice in rest), data)


def _read_collection(origin: Any, inner: Sequence[Any], data: object, where: str, lax: bool) -> object:
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(data, Mapping):
            raise _wrong(where, "an object", data)
        return {
            _read(inner[0], key, _at(where, str(key)), lax): _read(inner[1], item, _at(where, str(key)), lax)
            for key, item in data.items()
        }
    if not isinstance(data, list | tuple):
        raise _wrong(where, "a list", data)
    if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
        if len(data) != len(inner):
            raise _wrong(where, f"a list of {len(inner)}", data)
        return tuple(
            _read(kind, item, f"{where}[{place}]", lax)
            for place, (kind, item) in enumerate(zip(inner, data, strict=True))
        )
    items = [_read(inner[0], item, f"{where}[{place}]", lax) for place, item in enumerate(data)]
    if origin in (frozenset, set):
        return origin(items)
    return items if origin is list else tuple(items)


def _read_dataclass(cls: type, data: object, where: str, lax: bool) -> object:
    if not isinstance(data, Mapping):
        raise _wrong(where, "an object", data)
    fields = _fields(cls)
    unknown = [str(name) for name in data if name not in fields]
    if unknown and not lax:
        raise RequestError(
            f"At {_at(where, unknown[0])!r}: there is no such field.",
            f"{cls.__name__} has {', '.join(fields)}.",
        )
    missing = [name for name, (_, needed) in fields.items() if needed and name not in data]
    if missing:
        raise RequestError(f"At {_at(where, missing[0])!r}: the field is missing.")
    return cls(
        **{
            name: _read(hint, data[name], _at(where, name), lax)
            for name, (hint, _) in fields.items()
            if name in data
        }
    )


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _wrong(where: str, expected: str, data: object) -> RequestError:
    shown = repr(data)
    if len(shown) > 60:
        shown = shown[:57] + "..."
    place = f"At {where!r}: " if where else ""
    return RequestError(f"{place}expected {expected}, got {shown}.")
