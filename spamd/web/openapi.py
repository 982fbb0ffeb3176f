"""The API described (OpenAPI 3.1): made from the one route table and the annotations of its types."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spamd import __version__

if TYPE_CHECKING:
    from spamd.web.api import Route

INTEGER_LIMIT = 2**53 - 1  # what JSON numbers carry exactly, and SQLite takes
NUMBER_LIMIT = 1e11  # times and durations in seconds, shares, weights

_REFUSALS = {
    "400": "A value is wrong, or this cannot be done now.",
    "401": "The token is missing or wrong.",
    "403": "Host or Origin is not allowed.",
    "404": "There is no such thing.",
    "405": "This method is not used here.",
    "408": "The request took too long.",
    "409": "Done, but not all of it; the title says what.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "Too many wrong tokens.",
    "502": "The mail server refused or could not be reached.",
    "503": "Busy; try again.",
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole OpenAPI document."""
    schemas = _Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(f"/api/v1{route.path.replace(':int', '')}", {})[route.method.lower()] = _operation(
            route, schemas
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "spamd on this computer",
            "version": __version__,
            "description": "Loopback only. Port and token are in the run file. Times are Unix seconds.",
        },
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "schemas": schemas.named,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.name,
        "responses": {
            "200": {
                "description": "The answer.",
                "content": {route.media: {"schema": schemas.of(route.answer)}}
                if route.media == "application/json"
                else {route.media: {"schema": {"type": "string"}}},
            },
            **{
                status: {
                    "description": text,
                    "content": {"application/json": {"schema": schemas.of(_error_type())}},
                }
                for status, text in _REFUSALS.items()
            },
        },
    }
    parameters: list[dict[str, Any]] = []
    for part in route.path.split("/"):
        if part.startswith("{"):
            name, _, kind = part.strip("{}").partition(":")
            schema: dict[str, Any] = (
                {"type": "integer", "minimum": 1, "maximum": INTEGER_LIMIT}
                if kind == "int"
                else {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}$"}
            )
            parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    if route.query is not None:
        hints = typing.get_type_hints(route.query)
        for field in dataclasses.fields(route.query):
            needed = field.default is dataclasses.MISSING
            schema = schemas.of(_without_none(hints[field.name]), request=True)
            parameters.append({"name": field.name, "in": "query", "required": needed, "schema": schema})
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas.of(route.body, request=True)}},
        }
    return operation


def _error_type() -> type:
    from spamd.web.api import ErrorAnswer

    return ErrorAnswer


def _without_none(hint: Any) -> Any:
    choices = [one for one in typing.get_args(hint) if one is not type(None)]
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return choices[0] if union and len(choices) == 1 else hint


class _Schemas:
    """JSON schemas of the types met so far. What is asked is strict; what is answered names every field."""

    def __init__(self) -> None:
        self.named: dict[str, Any] = {}

    def of(self, hint: Any, *, request: bool = False) -> dict[str, Any]:
        while isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            return {
                "anyOf": [
                    {"type": "null"} if one is type(None) else self.of(one, request=request) for one in inner
                ]
            }
        if origin is typing.Literal:
            return {"enum": list(inner)}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(inner[1], request=request)}
        if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
            kinds = [self.of(one, request=request) for one in dict.fromkeys(inner)]
            items = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
            return {"type": "array", "items": items, "minItems": len(inner), "maxItems": len(inner)}
        if origin is not None:
            return {"type": "array", "items": self.of(inner[0], request=request)}
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            return self._named(hint, request)
        return self._plain(hint, request)

    def _plain(self, hint: Any, request: bool) -> dict[str, Any]:
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return {"enum": [one.value for one in hint]}
        if hint is bool:
            return {"type": "boolean"}
        if hint is int:
            bounds = {"minimum": -INTEGER_LIMIT, "maximum": INTEGER_LIMIT} if request else {}
            return {"type": "integer", **bounds}
        if hint is float:
            return {
                "type": "number",
                **({"minimum": -NUMBER_LIMIT, "maximum": NUMBER_LIMIT} if request else {}),
            }
        if hint is str:
            return {"type": "string"}
        if hint is bytes:
            return {"type": "string", "contentEncoding": "base64", "pattern": "^[A-Za-z0-9+/]*={0,2}$"}
        if hint is object or hint is Any:
            return {}
        raise TypeError(f"{hint!r} has no place in the API")

    def _named(self, cls: type, request: bool) -> dict[str, Any]:
        name = f"{cls.__name__}Asked" if request else cls.__name__
        if name not in self.named:
            self.named[name] = {}  # before its fields: types may refer to themselves
            hints = typing.get_type_hints(cls)
            fields = [field for field in dataclasses.fields(cls) if field.init]
            required = [
                field.name
                for field in fields
                if not request
                or (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
            ]
            self.named[name] = {
                "type": "object",
                "properties": {field.name: self.of(hints[field.name], request=request) for field in fields},
                **({"required": required} if required else {}),
                **({"additionalProperties": False} if request else {}),
            }
        return {"$ref": f"#/components/schemas/{name}"}
