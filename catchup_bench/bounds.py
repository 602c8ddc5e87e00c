"""Bounds of options: declared with their fields, checked when a method is made, shown where options are listed.

A field such as ``alpha: Annotated[float, Gt(0)] = 1.0`` or ``mode: Literal["a", "b"] = "a"`` says what it takes; text
beside the bounds says of what: ``Annotated[int, Ge(0), "pixels"]``.
"""

import types
from dataclasses import fields
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import ConfigDict, TypeAdapter, ValidationError


def check_fields(options: Any) -> None:
    """Raise ``ValueError`` with the field, its value and what is allowed unless every field of a dataclass is within
    its bounds."""
    for name, (adapter, allowed) in bounded_fields(type(options)).items():
        value = getattr(options, name)
        try:
            adapter.validate_python(value)
        except ValidationError:
            raise ValueError(f"{name} = {value!r} is not allowed: it takes {allowed}") from None


def bounded_fields(cls: Any) -> dict[str, tuple[TypeAdapter[Any], str]]:
    """Return, for each field of a dataclass that declares bounds, what validates it and what it takes in words."""
    return _bounded_fields(cls)


@lru_cache(256)
def _bounded_fields(cls: Any) -> dict[str, tuple[TypeAdapter[Any], str]]:
    found = {}
    for name, annotation in annotations_of(cls).items():
        if allowed := describe(annotation):
            found[name] = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True)), allowed
    return found


def annotations_of(cls: Any) -> dict[str, Any]:
    """Return the annotations of the fields of a dataclass, without those that only a type checker could resolve."""
    try:
        known = get_type_hints(cls, include_extras=True)
    except NameError:
        known = {f.name: f.type for f in fields(cls) if not isinstance(f.type, str)}
    return {f.name: known[f.name] for f in fields(cls) if f.name in known}


def describe(annotation: Any) -> str:
    """Return in words what an annotation allows; nothing where it declares no bound."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return one_of([str(value) for value in args])
    if origin in (Union, types.UnionType):
        said = [text for part in args if (text := describe(part))]
        return one_of([*said, "none"] if said and type(None) in args else said)
    if origin is tuple and args[-1] is Ellipsis:
        return f"values that are each {each}" if (each := describe(args[0])) else ""
    if origin is tuple:
        said = [describe(part) for part in args]
        return f"({', '.join(said)}{',' * (len(said) == 1)})" if all(said) else ""
    return described_bounds(args[0], args[1:]) if origin is Annotated else ""


def described_bounds(inner: Any, bounds: tuple[Any, ...]) -> str:
    """Return in words what the bounds of an ``Annotated`` type allow, and the notes beside them."""
    low, high, parts = "", "", [describe(inner)]
    for bound in bounds:
        match bound:
            case Gt(gt=number):
                low = f"more than {number}"
            case Ge(ge=number):
                low = f"{number} or more"
            case Lt(lt=number):
                high = f"less than {number}"
            case Le(le=number):
                high = f"at most {number}"
            case MinLen(min_length=number):
                parts.append(f"at least {number} of them")
    if low.endswith(" or more") and high:
        parts.append(f"{low.removesuffix(' or more')} to {high.removeprefix('at most ')}")
    else:
        parts += [low, high]
    text = ", ".join(filter(None, parts))
    notes = ", ".join(note for note in bounds if isinstance(note, str))
    return f"{text} ({notes})" if text and notes else text


def one_of(values: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(values[:-1]), *values[-1:])))
