"""Method files read without running them: the class, its options with their bounds, and what it says of itself.

Judging a record takes a method's name, defaults and bounds, and must not run untrusted code. So options and class
attributes are literals, and a file is read as a syntax tree. What comes out is an *outline*: a dataclass with the
fields, bounds and attributes of the file's class and without its functions, to be used where the class itself is.
"""

import ast
import re
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union

import annotated_types

from .bounds import bounded_fields, check_fields
from .errors import UsageError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

LARGEST = 2**20
"""Bytes that a method file may have."""

HERE = Path(__file__).resolve().parent

TOPS = (HERE,) if (HERE / "methods").is_dir() else (HERE, HERE.parent)
"""Folders in which modules of this package lie: in a checkout ``methods/`` sits beside it."""

CONTRACT = HERE / "method.py"

ATTRIBUTES: dict[str, Any] = {
    "title": str,
    "paper": str,
    "year": int,
    "level": str,
    "passes": str,
    "defaults": dict,
    "weights_sum_to_one": bool,
    "relatives": dict,
}

BOUNDS = {name: getattr(annotated_types, name) for name in ("Gt", "Ge", "Lt", "Le", "MinLen")}

TYPES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (int, float, str, bool, tuple)},
    "Annotated": Annotated,
    "Literal": Literal,
    "Optional": typing.Optional,
    "Union": Union,
    "Callable": Callable,
    **BOUNDS,
}
"""What annotations are made of."""

PLAIN_BASES = ("ABC", "Generic", "Protocol", "object")
"""Bases without fields."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The base of all outlines; ``reference`` is the docstring of the file, where it cites its paper."""

    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    year: ClassVar[int] = 0
    level: ClassVar[str] = ""
    passes: ClassVar[str] = ""
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    relatives: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    reference: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_fields(self)


def outline(path: Path) -> type[Outline]:
    """Return the outline of the one public method that the file at ``path`` defines.

    Raises :class:`UsageError` naming the file, and the field where there is one, when the file's name cannot be a
    method's, it is not valid Python, it defines no method or several, or an option or attribute is not a literal.
    """
    if not NAME.fullmatch(path.stem):
        raise UsageError(
            f"{path}: the file's name is the method's name, so it must be a Python name such as my_mix.py, of 1 to 64 "
            "letters a to z, digits and _"
        )
    try:
        source, method = source_of(path), source_of(CONTRACT).find("Method")
        values = [source.find(name) for name in source.classes if not name.startswith("_")]
    except Unreadable as err:
        raise UsageError(f"{path}: {err} cannot be read without running it") from None
    except RecursionError:
        raise UsageError(
            f"{path} cannot be read: it is nested too deeply, or its classes are each other's base"
        ) from None
    made = [cls for cls in values if isinstance(cls, type) and issubclass(cls, method)]
    if len(made) != 1:
        raise UsageError(f"{path} must define exactly one public Method class; it defines {len(made)}")
    return made[0]


def source_of(path: Path) -> "Source":
    """Return the file at ``path``, parsed once for the same bytes."""
    if not path.is_file():
        raise UsageError(f"no method file at {path}")
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is larger than {LARGEST >> 20} MB: it is no method file")
        return _parse(path, path.read_bytes())
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror or err}") from None


@lru_cache(256)
def _parse(path: Path, content: bytes) -> "Source":
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strings that Python itself would warn of when the file is run
            return Source(path, ast.parse(content))
    except SyntaxError as err:
        raise UsageError(f"{path}, line {err.lineno}: not valid Python: {err.msg}") from None
    except (ValueError, MemoryError) as err:
        raise UsageError(f"{path}: not valid Python: {' '.join(str(err).split())}") from None


class Unreadable(Exception):
    """The value of an expression is not known without running it."""


@dataclass(eq=False)
class Source:
    """The names at the top level of a file, and what they stand for."""

    path: Path
    tree: ast.Module
    classes: dict[str, ast.ClassDef] = field(init=False)
    aliases: dict[str, ast.expr] = field(default_factory=dict)
    imports: dict[str, tuple[Path | None, str]] = field(default_factory=dict)
    resolved: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.classes = {node.name: node for node in self.tree.body if isinstance(node, ast.ClassDef)}
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom):
                file = self.module(node)
                self.imports |= {alias.asname or alias.name: (file, alias.name) for alias in node.names}
            self.aliases |= dict(assignments(node))

    def module(self, node: ast.ImportFrom) -> Path | None:
        """Return the file of a sibling or of a module of this package; ``None`` for any other."""
        parts = (node.module or "").split(".")
        if node.level == 1 and node.module:
            return self.path.parent.joinpath(*parts).with_suffix(".py")
        if node.level == 0 and parts[0] == __package__ and len(parts) > 1:
            candidates = [top.joinpath(*parts[1:]).with_suffix(".py") for top in TOPS]
            return next((candidate for candidate in candidates if candidate.is_file()), None)
        return None

    def find(self, name: str) -> Any:
        """Return what a name stands for: the outline of a class that has a method among its bases, a type or a bound;
        ``Any`` for all else."""
        if name not in self.resolved:
            self.resolved[name] = self._find(name)
        return self.resolved[name]

    def _find(self, name: str) -> Any:
        if name in self.classes:
            return self.outline_of(self.classes[name])
        if name in self.aliases:
            return self.annotation(self.aliases[name])
        file, original = self.imports.get(name, (None, name))
        return TYPES.get(original, Any) if file is None else source_of(file).find(original)

    def outline_of(self, node: ast.ClassDef) -> Any:
        if self.path == CONTRACT and node.name == "Method":
            bases: list[type] = [Outline]
        else:
            named = [(ast.unparse(base), self.annotation(base)) for base in node.bases]
            bases = [base for _, base in named if isinstance(base, type) and issubclass(base, Outline)]
            if not bases:
                return Any
            for said, base in named:
                if base not in bases and said.partition("[")[0].rpartition(".")[2] not in PLAIN_BASES:
                    raise UsageError(
                        f"{self.path}, line {node.lineno}: {said}, a base of {node.name}, is neither in this file nor "
                        "in one beside it"
                    )
        attributes: dict[str, Any] = {"reference": ast.get_docstring(self.tree) or "", "__annotations__": {}}
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and not is_class_variable(statement.annotation):
                self.add_option(statement, attributes)
                continue
            for name, value in assignments(statement):
                if name in ATTRIBUTES:
                    attributes[name] = self.attribute(name, value)
        attributes["__module__"], attributes["__qualname__"] = __name__, node.name
        try:
            made = type(node.name, tuple(bases), attributes)
            made = dataclass(frozen=True, kw_only=True)(made) if is_dataclass(node) else made
            made.__doc__ = ast.get_docstring(node) or ""
            bounded_fields(made)
        except RecursionError:
            raise
        except Exception as err:  # bases without an order, bounds that do not fit a type, …
            raise UsageError(f"{self.path}, line {node.lineno}: {node.name}: {' '.join(str(err).split())}") from None
        return made

    def add_option(self, statement: ast.AnnAssign, attributes: dict[str, Any]) -> None:
        """Add a field with its annotation and default to the attributes of a class; one whose default is made at run
        time is no option."""
        name = statement.target.id if isinstance(statement.target, ast.Name) else ""
        where = f"{self.path}, line {statement.lineno}: option {name}"
        if not name or name.startswith("__"):
            raise UsageError(f"{where}: this is no name of an option")
        if is_made_at_run_time(statement.value):
            return
        try:
            if statement.value is not None:
                attributes[name] = default_of(statement.value)
            attributes["__annotations__"][name] = self.annotation(statement.annotation)
        except Unreadable as err:
            raise UsageError(
                f"{where}: {err} is not a literal: a default is a number, a text, true or false, None or a tuple of "
                "these, and so are bounds, because boards read them without running the file"
            ) from None

    def attribute(self, name: str, node: ast.expr) -> Any:
        try:
            value = literal(node)
        except Unreadable as err:
            raise UsageError(f"{self.path}, line {node.lineno}: {name}: {err} is not a literal") from None
        if not isinstance(value, ATTRIBUTES[name]):
            raise UsageError(f"{self.path}, line {node.lineno}: {name} must be {ATTRIBUTES[name].__name__}")
        if name == "defaults" and not all(isinstance(options, dict) for options in value.values()):
            raise UsageError(f"{self.path}, line {node.lineno}: defaults are dictionaries of options, one per dataset")
        return value

    def annotation(self, node: ast.expr) -> Any:
        """Return a type with its bounds, or a class; ``Any`` for what is neither. Raises :class:`Unreadable` for
        bounds that are not literals."""
        match node:
            case ast.Constant(value=None):
                return None
            case ast.Constant(value=str(text)):
                return self.annotation(parsed(text))
            case ast.Name(id=name):
                return self.find(name)
            case ast.Attribute(value=ast.Name(), attr=name):
                return TYPES.get(name, Any)
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                return Union[self.annotation(left), self.annotation(right)]  # noqa: UP007
            case ast.Subscript(value=value, slice=index):
                return self.subscript(self.annotation(value), index.elts if isinstance(index, ast.Tuple) else [index])
        return Any

    def subscript(self, base: Any, items: list[ast.expr]) -> Any:
        if base is Literal:
            return Literal[tuple(map(literal, items))]
        if base is Annotated:
            return Annotated[(self.annotation(items[0]), *map(self.bound, items[1:]))]
        if base is tuple and len(items) == 2 and ast.unparse(items[1]) == "...":
            return types.GenericAlias(tuple, (self.annotation(items[0]), ...))
        if base in (tuple, Union, typing.Optional):
            parts = tuple(map(self.annotation, items))
            return base[parts[0] if base is typing.Optional else parts]
        return base if base is Callable else Any

    def bound(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Call) and len(values := [*node.args, *(word.value for word in node.keywords)]) == 1:
            kind = self.annotation(node.func)
            if any(kind is known for known in BOUNDS.values()):
                return kind(literal(values[0]))
        return literal(node)


def parsed(text: str) -> ast.expr:
    """Return an annotation that is written as text."""
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return ast.Constant(None)


def assignments(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a statement sets, with the expressions of their values."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value
    if not isinstance(node, ast.Assign):
        return
    for target in node.targets:
        if isinstance(target, ast.Name):
            yield target.id, node.value
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = zip(target.elts, node.value.elts, strict=False)
            yield from ((one.id, value) for one, value in pairs if isinstance(one, ast.Name))


def is_class_variable(node: ast.expr) -> bool:
    said = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)
    return said.partition("[")[0].rpartition(".")[2] == "ClassVar"


def is_dataclass(node: ast.ClassDef) -> bool:
    return any(ast.unparse(d).partition("(")[0].rpartition(".")[2] == "dataclass" for d in node.decorator_list)


def is_made_at_run_time(node: ast.expr | None) -> bool:
    if not isinstance(node, ast.Call) or ast.unparse(node.func).rpartition(".")[2] != "field":
        return False
    return "default" not in [word.arg for word in node.keywords]


def default_of(node: ast.expr) -> Any:
    """Return the default of a field, also of ``field(default=…)``."""
    match node:
        case ast.Call(func=ast.Name(id="field"), args=[], keywords=words):
            node = next((word.value for word in words if word.arg == "default"), node)
    value = literal(node)
    if not all(map(is_plain, value if isinstance(value, tuple) else (value,))):
        raise Unreadable(ast.unparse(node))
    return value


def is_plain(value: Any) -> bool:
    ordinary = not isinstance(value, int | float) or -1e300 <= value <= 1e300
    return ordinary and (value is None or isinstance(value, bool | int | float | str))


def literal(node: ast.expr, names: Mapping[str, Any] = {}) -> Any:
    """Return the value of an expression of numbers, texts, tuples and dictionaries; a dictionary may be made by one
    loop over a tuple, whose variable is in ``names``. Raises :class:`Unreadable` for any other."""
    match node:
        case ast.Constant(value=value) if is_plain(value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)) if number is not True:
            return -number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Tuple(elts=items):
            return tuple(literal(item, names) for item in items)
        case ast.Dict(keys=keys, values=values):
            merged: dict[Any, Any] = {}
            for key, item in zip(keys, values, strict=True):
                one = literal(item, names)
                if key is None and not isinstance(one, dict):
                    raise Unreadable(ast.unparse(node))
                merged |= one if key is None else {hashable(key, names): one}
            return merged
        case ast.DictComp(generators=[ast.comprehension(target=ast.Name(id=name), iter=ast.Tuple() as rows, ifs=[])]):
            if not names:  # a loop in a loop could make more than fits into memory
                turns = [{name: row} for row in literal(rows)]
                return {hashable(node.key, turn): literal(node.value, turn) for turn in turns}
    raise Unreadable(ast.unparse(node))


def hashable(node: ast.expr, names: Mapping[str, Any]) -> Any:
    value = literal(node, names)
    if not is_plain(value):
        raise Unreadable(ast.unparse(node))
    return value
