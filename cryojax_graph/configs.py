"""Frozen dataclasses to JSON and back, unknown fields refused."""

import dataclasses
import json
import types
import typing
from typing import Any, TypeVar

Config = TypeVar("Config")


def to_dict(config: Any) -> dict[str, Any]:
    """Plain nested dict of a frozen dataclass; tuples become lists.

    Args:
        config: instance of a dataclass made of numbers, strings, tuples and other such dataclasses.

    Returns:
        a dict that ``json`` can write.
    """
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(kind: type[Config], values: dict[str, Any], path: str = "") -> Config:
    """Build a config from a plain dict, converting lists to tuples.

    Args:
        kind: the dataclass.
        values: fields by name; missing ones take their default.
        path: dotted place of ``values`` in the whole, for messages.

    Returns:
        an instance of ``kind``.

    Raises:
        ValueError: a field is unknown or of the wrong type; the message names its dotted path.
    """
    hints = typing.get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    unknown = sorted(set(values) - names)
    if unknown:
        raise ValueError(f"unknown field {path}{unknown[0]}; known: {', '.join(sorted(names))}")
    converted = {
        name: _convert(hints[name], value, f"{path}{name}") for name, value in values.items()
    }
    return kind(**converted)


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        for kind in arguments:
            if kind is type(None):
                continue
            try:
                return _convert(kind, value, path)
            except ValueError:
                continue
        raise ValueError(f"{path} is {value!r}, expected {hint}")
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ValueError(f"{path} is {value!r}, expected an object of fields")
        return from_dict(typing.cast(Any, hint), value, f"{path}.")
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{path} is {value!r}, expected a list")
        kinds = (
            [arguments[0]] * len(value)
            if len(arguments) == 2 and arguments[1] is Ellipsis
            else list(arguments)
        )
        if len(kinds) != len(value):
            raise ValueError(f"{path} has {len(value)} entries, expected {len(kinds)}")
        return tuple(
            _convert(k, v, f"{path}[{i}]")
            for i, (k, v) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(
                f"{path} is {value!r}, expected one of {', '.join(map(str, arguments))}"
            )
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wrong_bool = isinstance(value, bool) and hint is not bool
    if isinstance(hint, type) and (wrong_bool or not isinstance(value, hint)):
        raise ValueError(f"{path} is {value!r}, expected {hint.__name__}")
    return value
