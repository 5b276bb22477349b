"""Strict YAML <-> frozen dataclasses: whatever the dataclass does not say is an error that names file and line.

Nothing is ever constructed from a tag, a file has a bounded size, and anchors, aliases, merge keys and duplicate keys
are refused, so what is read is exactly what stands in the file. Knows nothing about cards; imports no torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import io
import math
import re
import types
import typing
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Literal, NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_BYTES = 256 * 1024
_FLOAT_TAG = "tag:yaml.org,2002:float"
# PyYAML follows YAML 1.1, where 1e-3 is a string. As in YAML 1.2 it is a number here.
_EXPONENT_FLOAT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
_TAG_NAMES = {"str": "string", "int": "integer", "bool": "boolean", "seq": "list", "map": "mapping"}


class SchemaError(ValueError):
    """A document that does not follow its dataclass; the message starts with file:line."""


class FieldError(ValueError):
    """Raised in `__post_init__` by a dataclass that refuses a value; the reader adds file and line.

    Args:
        field: Name of the field within the dataclass.
        message: What is wrong and what to do, as a sentence without the field's name in front.
    """

    def __init__(self, field: str, message: str):
        super().__init__(f"{field} {message}")
        self.field = field


def require(ok: bool, field: str, message: str) -> None:
    """Raises `FieldError` for `field` unless `ok`."""
    if not ok:
        raise FieldError(field, message)


def did_you_mean(word: str, known: Iterable[str], count: int = 1) -> str:
    """`"; did you mean 'lr'?"` with the nearest known words, or an empty string when nothing is near."""
    near = difflib.get_close_matches(word, sorted(known), n=count, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


# -------------------------------------------------------------------------------------------------------- syntax


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses aliases: no document may be larger in memory than on disk."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise SchemaError(f"{_place(event)}: aliases (*name) are not allowed; write the values out")
        return super().compose_node(parent, index)


class _TrustedLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """libyaml's loader where PyYAML was built with it: twenty times faster, but deep nesting crashes it."""


class _Dumper(yaml.SafeDumper):
    """SafeDumper with short inline lists of scalars and indented block lists."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_list(dumper: yaml.SafeDumper, values: list[Any]) -> Node:
    inline = all(isinstance(value, (int, float)) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=inline)


_Dumper.add_representer(list, _represent_list)
for _class in (_Loader, _TrustedLoader, _Dumper):
    _class.add_implicit_resolver(_FLOAT_TAG, _EXPONENT_FLOAT, list("-+0123456789"))


def _place(at: Node | yaml.Event) -> str:
    mark = at.start_mark
    return f"{mark.name}:{mark.line + 1}" if mark else "?"


def compose(text: str, origin: str, *, trusted: bool = False) -> Node:
    """Parses one YAML document into nodes that know their file and line; constructs nothing.

    Args:
        text: The document.
        origin: File name for messages.
        trusted: A file of this package, which its tests have read without this: parse it fast, and allow aliases.

    Raises:
        SchemaError: Not YAML, empty, larger than `MAX_BYTES`, nested too deeply, or with aliases.
    """
    if len(text.encode()) > MAX_BYTES:
        raise SchemaError(f"{origin}:1: larger than {MAX_BYTES // 1024} kB")
    try:
        stream = io.StringIO(text)
        stream.name = origin  # what both loaders call it in their marks
        node = (_TrustedLoader if trusted else _Loader)(stream).get_single_node()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SchemaError(f"{origin}:{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise SchemaError(f"{origin}:1: not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise SchemaError(f"{origin}:1: nested too deeply") from None
    if node is None:
        raise SchemaError(f"{origin}:1: empty")
    return node


def dump(value: Any) -> str:
    """Complete YAML of a dataclass: every field in the order of the class, defaults included."""
    return yaml.dump(plain(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def plain(value: Any) -> Any:
    """Dataclasses, tuples and dicts as dicts and lists of scalars."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


# --------------------------------------------------------------------------------------------------------- schema

FieldTypes = Callable[[type, dict[str, Node]], dict[str, Any]]
"""(dataclass, its nodes by key) -> types that replace annotations, for a field whose type another field chooses."""


def read(node: Node, kind: Any, path: str = "", field_types: FieldTypes = lambda cls, nodes: {}) -> Any:
    """Turns a node into a value of type `kind`.

    Args:
        node: From `compose`.
        kind: str, int, float, bool, Literal, `X | None`, a dataclass, a union of dataclasses tagged by a field `name`,
            tuple[X, ...], tuple[X, Y] or dict[str, X].
        path: Dotted path of the node, for messages.
        field_types: Replaces the annotated type of some fields.

    Raises:
        SchemaError: With file, line, path and what was expected.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_union(node, arguments, path, field_types)
    if origin is Literal:
        return _read_literal(node, arguments, path)
    if origin is tuple:
        return _read_tuple(node, arguments, path, field_types)
    if origin is dict:
        entries = mapping(node, path)
        return {key: read(item, arguments[1], _join(path, key), field_types) for key, item in entries.items()}
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(node, typing.cast(type, kind), path, field_types)
    return _read_scalar(node, kind, path)


def mapping(node: Node, path: str) -> dict[str, Node]:
    """Keys and nodes of a mapping.

    Raises:
        SchemaError: Not a mapping, a key that is no string, a duplicate key, or a merge key.
    """
    if not isinstance(node, MappingNode):
        _wrong(node, path, "a mapping")
    entries: dict[str, Node] = {}
    for key, value in node.value:
        if not isinstance(key, ScalarNode) or not key.tag.endswith(":str"):
            raise SchemaError(f"{_place(key)}: every key in {path or 'the document'} should be a plain word")
        if key.value in entries:
            raise SchemaError(f"{_place(key)}: key {key.value!r} appears twice in {path or 'the document'}")
        entries[key.value] = value
    return entries


_hints = cache(typing.get_type_hints)


def _join(path: str, key: str | int) -> str:
    return f"{path}.{key}" if path else str(key)


def _describe(node: Node) -> str:
    if isinstance(node, ScalarNode):
        if node.tag.endswith(":null"):
            return "null"
        return f"the {_TAG_NAMES.get(node.tag.rsplit(':', 1)[-1], node.tag.rsplit(':', 1)[-1])} {node.value!r}"
    return "a list" if isinstance(node, SequenceNode) else "a mapping"


def _wrong(node: Node, path: str, expected: str) -> NoReturn:
    raise SchemaError(f"{_place(node)}: {path or 'the document'} should be {expected}, not {_describe(node)}")


def _read_scalar(node: Node, kind: type, path: str) -> Any:
    expected = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}[kind]
    tags = {str: ("str",), int: ("int",), float: ("float", "int"), bool: ("bool",)}[kind]
    if not isinstance(node, ScalarNode) or node.tag not in [f"tag:yaml.org,2002:{tag}" for tag in tags]:
        hint = " (put it in quotes)" if kind is str and isinstance(node, ScalarNode) else ""
        _wrong(node, path, expected + hint)
    try:
        value = kind(yaml.constructor.SafeConstructor().construct_object(node))
    except (ValueError, OverflowError):
        _wrong(node, path, expected)
    if kind is float and not math.isfinite(value):
        _wrong(node, path, "a finite number")
    return value


def _read_literal(node: Node, choices: tuple[Any, ...], path: str) -> Any:
    if not isinstance(node, ScalarNode) or node.value not in choices:
        near = did_you_mean(node.value, choices) if isinstance(node, ScalarNode) else ""
        expected = f"one of {', '.join(map(repr, choices))}"
        raise SchemaError(f"{_place(node)}: {path} should be {expected}, not {_describe(node)}{near}")
    return node.value


def _read_union(node: Node, options: tuple[Any, ...], path: str, field_types: FieldTypes) -> Any:
    if type(None) in options and isinstance(node, ScalarNode) and node.tag.endswith(":null"):
        return None
    options = tuple(option for option in options if option is not type(None))
    if len(options) == 1:
        return read(node, options[0], path, field_types)
    tagged = {typing.get_args(_hints(option)["name"])[0]: option for option in options}
    name = mapping(node, path).get("name")
    if name is None:
        raise SchemaError(f"{_place(node)}: missing field 'name' in {path}: one of {', '.join(map(repr, tagged))}")
    return read(node, tagged[_read_literal(name, tuple(tagged), _join(path, "name"))], path, field_types)


def _read_tuple(node: Node, kinds: tuple[Any, ...], path: str, field_types: FieldTypes) -> tuple[Any, ...]:
    if not isinstance(node, SequenceNode):
        _wrong(node, path, "a list")
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(node.value)
    if len(node.value) != len(kinds):
        raise SchemaError(f"{_place(node)}: {path} should have {len(kinds)} values, not {len(node.value)}")
    return tuple(
        read(item, kind, _join(path, i), field_types)
        for i, (item, kind) in enumerate(zip(node.value, kinds, strict=True))
    )


def _read_dataclass(node: Node, cls: type, path: str, field_types: FieldTypes) -> Any:
    nodes = mapping(node, path)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    where = path or "the document"
    for key, _ in node.value:
        if key.value not in fields:
            raise SchemaError(f"{_place(key)}: unknown key {key.value!r} in {where}{did_you_mean(key.value, fields)}")
    for name, field in fields.items():
        no_default = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if no_default and name not in nodes:
            raise SchemaError(f"{_place(node)}: missing field {name!r} in {where}")
    kinds = _hints(cls) | field_types(cls, nodes)
    values = {key: read(value, kinds[key], _join(path, key), field_types) for key, value in nodes.items()}
    try:
        return cls(**values)
    except FieldError as error:
        at = nodes.get(error.field, node)
        raise SchemaError(f"{_place(at)}: {_join(path, str(error))}") from None
