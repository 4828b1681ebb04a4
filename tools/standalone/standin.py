"""A stand-in for the part of `msgspec` that the one-file verifier uses, in pure Python; it is not msgspec.

It accepts, refuses and gives the same as msgspec 0.22 for the types of `remit.core` and `remit.ledger`, in the same
words (tests/standalone holds them against each other). What they do not use is not here; a type that is not known
here raises `TypeError` when it is first read. One difference is known: where JSON is malformed *and* a value before
that does not fit its type, msgspec tells of the value, and this of the JSON.

1. Bytes become a tree: strict JSON (RFC 8259), by Python's own scanner; numbers with a fraction or an exponent and keys
   that stand twice are kept apart, because types and hooks treat them in ways of their own.
2. The tree becomes a value of the type: each type is compiled once into a function that converts or refuses.
3. Values become bytes: keys sorted by code point, no white space, numbers as msgspec writes them.
"""

from __future__ import annotations

import json as _json
import math
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, Literal, NoReturn, Union

__all__ = ["DecodeError", "Meta", "MsgspecError", "Raw", "Struct", "ValidationError", "convert", "json", "to_builtins"]


class MsgspecError(Exception):
    """The base of all errors."""


class DecodeError(MsgspecError, ValueError):
    """The bytes are no JSON."""


class ValidationError(DecodeError):
    """A value does not fit its type."""


class Raw(bytes):
    """A part of the JSON, as it stands."""


class Meta:
    """Constraints on a value."""

    def __init__(
        self,
        *,
        ge: int | None = None,
        le: int | None = None,
        min_length: int | None = None,
        max_length: int | None = None,
        pattern: str | None = None,
        description: str | None = None,
    ) -> None:
        self.ge, self.le = ge, le
        self.min_length, self.max_length = min_length, max_length
        self.pattern = pattern
        self.description = description


# --- structs ------------------------------------------------------------------------------------------------

_REQUIRED: Final = object()
_set = object.__setattr__


class _StructMeta(type):
    """Makes a class with slots from annotations and defaults."""

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        frozen: bool = False,
        kw_only: bool = False,
        forbid_unknown_fields: bool = False,
        rename: str | None = None,
        gc: bool = True,
    ) -> _StructMeta:
        fields = tuple(namespace.get("__annotations__", {}))
        if any(getattr(base, "__struct_fields__", ()) for base in bases):
            raise TypeError("a struct of the stand-in has no struct as its base")
        defaults = {field: namespace.pop(field) for field in fields if field in namespace}
        made = super().__new__(mcs, name, bases, namespace | {"__slots__": fields})
        # Where the names in annotations are looked up, once a type is first read.
        made.__struct_globals__ = vars(sys.modules[namespace["__module__"]])  # type: ignore[attr-defined]
        made.__struct_fields__ = fields  # type: ignore[attr-defined]
        made.__struct_defaults__ = defaults  # type: ignore[attr-defined]
        made.__struct_options__ = (frozen, kw_only, forbid_unknown_fields)  # type: ignore[attr-defined]
        made.__struct_encode_fields__ = tuple(  # type: ignore[attr-defined]
            _camel(field) if rename == "camel" else field for field in fields
        )
        return made


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _fresh(default: Any) -> Any:
    """A default for one instance: empty collections are made anew."""
    return type(default)() if type(default) in (dict, list, set) else default


def _fields_of(value: Any) -> tuple[str, ...]:
    fields: tuple[str, ...] = type(value).__struct_fields__
    return fields


class Struct(metaclass=_StructMeta):
    """A class of typed fields."""

    def __init__(self, *args: Any, **given: Any) -> None:
        cls: Any = type(self)
        if len(args) > len(cls.__struct_fields__) or (args and cls.__struct_options__[1]):
            raise TypeError("Extra positional arguments provided")
        for field, value in zip(cls.__struct_fields__, args, strict=False):
            _set(self, field, value)
        for field in cls.__struct_fields__[len(args) :]:
            value = given.pop(field, _REQUIRED)
            if value is _REQUIRED:
                if field not in cls.__struct_defaults__:
                    raise TypeError(f"Missing required argument '{field}'")
                value = _fresh(cls.__struct_defaults__[field])
            _set(self, field, value)
        if given:
            raise TypeError(f"Unexpected keyword argument '{next(iter(given))}'")

    def __setattr__(self, name: str, value: Any) -> None:
        if type(self).__struct_options__[0]:  # type: ignore[attr-defined]
            raise AttributeError(f"immutable type: '{type(self).__name__}'")
        _set(self, name, value)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, field) == getattr(other, field) for field in _fields_of(self))

    def __hash__(self) -> int:
        if not type(self).__struct_options__[0]:  # type: ignore[attr-defined]
            raise TypeError(f"unhashable type: '{type(self).__name__}'")
        return hash((type(self), *(getattr(self, field) for field in _fields_of(self))))

    def __repr__(self) -> str:
        fields = ", ".join(f"{field}={getattr(self, field)!r}" for field in _fields_of(self))
        return f"{type(self).__name__}({fields})"


# --- 1. from bytes to a tree --------------------------------------------------------------------------------


class _Floating(str):
    """A number with a fraction or an exponent, as it is written."""


class _Huge(str):
    """A whole number of more digits than Python reads."""


class _Repeating(dict[str, Any]):
    """An object in which a key stands twice; `pairs` are all of them."""

    pairs: list[tuple[str, Any]]


_DIGITS: Final = 4300
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    repeating = _Repeating(made)
    repeating.pairs = pairs
    return repeating


def _integer(text: str) -> int | _Huge:
    return int(text) if len(text) <= _DIGITS else _Huge(text)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _scanner_of(**hooks: Any) -> _json.JSONDecoder:
    return _json.JSONDecoder(object_pairs_hook=_object, parse_float=_Floating, parse_constant=_no_constant, **hooks)


_scanner: Final = _scanner_of()
_careful: Final = _scanner_of(parse_int=_integer)
_MANY_DIGITS: Final = re.compile(f"[0-9]{{{_DIGITS + 1}}}")


def _text_of(data: bytes | bytearray | str) -> tuple[str, _json.JSONDecoder]:
    """The text in the bytes, and what scans it."""
    text = data if isinstance(data, str) else bytes(data).decode()
    if text.startswith("\ufeff"):
        raise DecodeError("JSON is malformed: invalid character (byte 0)")
    return text, _careful if len(text) > _DIGITS and _MANY_DIGITS.search(text) else _scanner


def _tree(data: bytes | bytearray | str) -> Any:
    """The tree in the bytes; strings of it are all valid Unicode."""
    text, scanner = _text_of(data)
    try:
        tree = scanner.decode(text)
    except ValueError:
        raise DecodeError("JSON is malformed") from None
    _check_unicode(text, tree)
    return tree


def _check_unicode(text: str, tree: Any) -> None:
    # SECURITY: half of a surrogate pair is no text; only an escape can have brought it in.
    if "\\u" in text and _has_surrogates(tree):
        raise DecodeError("JSON is malformed: invalid utf-16 surrogate pair")


def _has_surrogates(tree: Any) -> bool:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            if _SURROGATES.search(node):
                return True
        elif isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            for key, value in node.pairs if isinstance(node, _Repeating) else node.items():
                waiting += (key, value)
    return False


def _members(data: bytes | bytearray | str) -> list[tuple[str, Any, Raw]]:
    """The members of the object in the bytes, each with its JSON; `DecodeError` where there is no object."""
    text, scanner = _text_of(data)
    found: list[tuple[str, Any, Raw]] = []
    try:
        place = _skip(text, _after("{", text, 0))
        while text[place] != "}" or found:
            key, place = scanner.raw_decode(text, place)
            start = _skip(text, _after(":", text, _skip(text, place)))
            value, place = scanner.raw_decode(text, start)
            if type(key) is not str:
                raise DecodeError("JSON is malformed")
            found.append((key, value, Raw(text[start:place].encode())))
            _check_unicode(text, [key, value])
            place = _skip(text, place)
            if text[place] == "}":
                break
            place = _skip(text, _after(",", text, place))
        if _skip(text, place + 1) != len(text):
            raise DecodeError("JSON is malformed: trailing characters")
    except (IndexError, ValueError):
        raise DecodeError("JSON is malformed") from None
    return found


def _after(mark: str, text: str, place: int) -> int:
    place = _skip(text, place)
    if text[place] != mark:
        raise DecodeError("JSON is malformed")
    return place + 1


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\n\r":
        place += 1
    return place


# --- 2. from a tree to a value of a type --------------------------------------------------------------------

Convert = Callable[[Any], Any]
Hook = Callable[[str], Any] | None


class _Refused(Exception):
    """A value that does not fit; the steps to it are added on the way up, the last one first."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.steps: list[str] = []
        self.key = False

    @property
    def text(self) -> str:
        path = "$" + "".join(reversed(self.steps))
        if self.key:
            return f"{self.message} - at `key` in `{path}`"
        return f"{self.message} - at `{path}`" if self.steps else self.message


_KINDS: Final = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    dict: "object",
    list: "array",
    tuple: "array",
    _Floating: "float",
    _Huge: "int",
    _Repeating: "object",
}


def _kind(value: Any) -> str:
    """What the value is in JSON, as messages call it."""
    return _KINDS.get(type(value), "object" if isinstance(value, Struct) else "array")


def _kind_read(value: Any) -> str:
    """The same in messages about JSON, where whole numbers of more than 64 bits are called floating."""
    kind = _kind(value)
    return "float" if kind == "int" and not isinstance(value, _Huge) and not -(2**63) <= value < 2**64 else kind


class _Compiler:
    """Compiles types into functions that convert; one for each hook, and one for values that are no JSON."""

    def __init__(self, float_hook: Hook = None, *, is_json: bool = True) -> None:
        self._hook = float_hook
        self._is_json = is_json
        self._told = _kind_read if is_json else _kind
        self._structs: dict[type, Convert] = {}

    def compile(self, type_: Any) -> Convert:
        """The function for one type."""
        alternatives = self._alternatives(type_, ())
        expected = " | ".join(f"`{kind}`" for kind in alternatives).replace("` | `", " | ")
        if None in alternatives:
            return alternatives[None]

        by_type = {of: alternatives[kind] for of, kind in _KINDS.items() if kind in alternatives}

        def choose(value: Any) -> Any:
            convert = by_type.get(type(value)) or alternatives.get(_kind(value))
            if convert is None:
                raise _Refused(f"Expected {expected}, got `{self._told(value)}`")
            return convert(value)

        return choose

    def _alternatives(self, type_: Any, metas: tuple[Meta, ...]) -> dict[Any, Convert]:
        """What the type takes, by the kind of JSON; under None where it takes anything."""
        origin, args = typing.get_origin(type_), typing.get_args(type_)
        if origin is typing.Annotated:
            return self._alternatives(args[0], (*metas, *(each for each in args[1:] if isinstance(each, Meta))))
        if type_ is Any:
            return {None: self.plain}
        if origin in (Union, types.UnionType):
            found: dict[Any, Convert] = {}
            # Messages name `null` last.
            for each in sorted(args, key=lambda each: each in (None, type(None))):
                found |= self._alternatives(each, metas)
            return found
        if type_ in (None, type(None)):
            return {"null": lambda value: value}
        if type_ is bool:
            return {"bool": lambda value: value}
        if type_ is int:
            return {"int": _whole(metas)}
        if type_ is str:
            return {"str": _text(metas)}
        if origin is Literal:
            return _literal(args)
        if type_ is dict or origin is dict:
            return {"object": self._dict(*(args or (Any, Any)))}
        if origin in (list, tuple, frozenset):
            return {"array": self._array(origin, args, metas)}
        if isinstance(type_, type) and issubclass(type_, Struct):
            return {"object": self._struct(type_)}
        raise TypeError(f"the stand-in does not know the type {type_!r}")

    def plain(self, value: Any) -> Any:
        """A value of any type: as Python has it, without what step 1 kept apart."""
        if type(value) is str or type(value) is int:
            return value
        if isinstance(value, str):
            if isinstance(value, _Floating):
                return self._number(value)
            if isinstance(value, _Huge):
                raise _Refused("Integer value out of range")
            return value
        if isinstance(value, dict):
            pairs = value.pairs if isinstance(value, _Repeating) else value.items()
            return {key: _at("[...]", self.plain, inner) for key, inner in pairs}
        if isinstance(value, list):
            return [_at(f"[{index}]", self.plain, inner) for index, inner in enumerate(value)]
        return value

    def _number(self, text: str) -> Any:
        if self._hook is not None:
            try:
                return self._hook(str(text))
            except (TypeError, ValueError) as error:
                raise _Refused(str(error)) from None
        number = float(text)
        if math.isinf(number):
            raise _Refused("Number out of range")
        return number

    def _dict(self, key_type: Any, value_type: Any) -> Convert:
        of_key, of_value = self.compile(key_type), self.compile(value_type)

        def convert(value: dict[Any, Any]) -> dict[Any, Any]:
            made = {}
            for key, inner in value.pairs if isinstance(value, _Repeating) else value.items():
                try:
                    named = of_key(key)
                except _Refused as refused:
                    refused.key = True
                    raise
                made[named] = _at("[...]", of_value, inner)
            return made

        return convert

    def _array(self, origin: Any, args: tuple[Any, ...], metas: tuple[Meta, ...]) -> Convert:
        check = _length("array", metas)
        if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
            each = [self.compile(arg) for arg in args]

            def fixed(value: Any) -> Any:
                if len(value) != len(each) and not self._is_json:
                    raise _Refused(f"Expected `array` of length {len(each)}, got {len(value)}")
                made = tuple(_at(f"[{n}]", of, inner) for n, (of, inner) in enumerate(zip(each, value, strict=False)))
                if len(value) != len(each):
                    raise _Refused(f"Expected `array` of length {len(each)}")
                return made

            return fixed
        of_item = self.compile(args[0])

        def convert(value: Any) -> Any:
            made = origin([_at(f"[{index}]", of_item, inner) for index, inner in enumerate(value)])
            check(value)
            return made

        return convert

    def _struct(self, cls: Any) -> Convert:
        def later(value: Any) -> Any:
            return self._structs[cls](value)

        if cls not in self._structs:
            self._structs[cls] = later  # a struct that holds itself
            self._structs[cls] = self._fields(cls)
        return self._structs[cls]

    def _fields(self, cls: Any) -> Convert:
        hints = _hints(cls)
        names = dict(zip(cls.__struct_encode_fields__, cls.__struct_fields__, strict=True))
        known = {
            encoded: (field, None if hints[field] is Raw else self.compile(hints[field]))
            for encoded, field in names.items()
        }
        defaults, forbids = cls.__struct_defaults__, cls.__struct_options__[2]

        def convert(value: Any) -> Any:
            if isinstance(value, cls):
                return value
            made = cls.__new__(cls)
            missing = dict(names)
            for key, inner in value.pairs if isinstance(value, _Repeating) else value.items():
                if key not in known:
                    if forbids:
                        raise _Refused(f"Object contains unknown field `{key}`")
                    continue
                field, of = known[key]
                if of is None:
                    raise TypeError("the stand-in reads `Raw` in the outermost object only")
                _set(made, field, _at(f".{key}", of, inner))
                missing.pop(key, None)
            _complete(made, missing, defaults)
            return made

        return convert

    def outermost(self, cls: Any) -> Callable[[bytes | bytearray | str], Any]:
        """What reads a struct with fields that are `Raw`."""
        hints = _hints(cls)
        fields = dict(zip(cls.__struct_encode_fields__, cls.__struct_fields__, strict=True))
        compiled = {key: None if hints[field] is Raw else self.compile(hints[field]) for key, field in fields.items()}

        def read(data: bytes | bytearray | str) -> Any:
            made, missing = cls.__new__(cls), dict(fields)
            for key, inner, raw in _members(data):
                if key in fields:
                    of = compiled[key]
                    _set(made, fields[key], raw if of is None else _at(f".{key}", of, inner))
                    missing.pop(key, None)
            _complete(made, missing, cls.__struct_defaults__)
            return made

        return read


def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls, globalns=cls.__struct_globals__, include_extras=True)


def _complete(made: Any, missing: Mapping[str, str], defaults: Mapping[str, Any]) -> None:
    for encoded, field in missing.items():
        if field not in defaults:
            raise _Refused(f"Object missing required field `{encoded}`")
        _set(made, field, _fresh(defaults[field]))


def _at(step: str, convert: Convert, value: Any) -> Any:
    try:
        return convert(value)
    except _Refused as refused:
        refused.steps.append(step)
        raise


def _whole(metas: tuple[Meta, ...]) -> Convert:
    least = [meta.ge for meta in metas if meta.ge is not None]
    most = [meta.le for meta in metas if meta.le is not None]

    def convert(value: Any) -> Any:
        if isinstance(value, _Huge):
            raise _Refused("Integer value out of range")
        for bound in least:
            if value < bound:
                raise _Refused(f"Expected `int` >= {bound}")
        for bound in most:
            if value > bound:
                raise _Refused(f"Expected `int` <= {bound}")
        return value

    return convert


def _text(metas: tuple[Meta, ...]) -> Convert:
    check = _length("str", metas)
    patterns = [(meta.pattern, re.compile(meta.pattern)) for meta in metas if meta.pattern is not None]
    if not metas:
        return lambda value: value

    def convert(value: Any) -> Any:
        check(value)
        for written, pattern in patterns:
            if pattern.search(value) is None:
                raise _Refused(f"Expected `str` matching regex {written!r}")
        return value

    return convert


def _length(kind: str, metas: tuple[Meta, ...]) -> Callable[[Any], None]:
    least = max([meta.min_length for meta in metas if meta.min_length is not None], default=0)
    most = min([meta.max_length for meta in metas if meta.max_length is not None], default=sys.maxsize)

    def check(value: Any) -> None:
        if len(value) < least:
            raise _Refused(f"Expected `{kind}` of length >= {least}")
        if len(value) > most:
            raise _Refused(f"Expected `{kind}` of length <= {most}")

    return check


def _literal(args: tuple[Any, ...]) -> dict[Any, Convert]:
    def convert(value: Any) -> Any:
        if value not in args:
            raise _Refused(f"Invalid enum value {value!r}")
        return value

    return {_kind(each): convert for each in args}


_compiler = _Compiler(is_json=False)
_compiled: dict[Any, Convert] = {}


def _convert(tree: Any, type_: Any) -> Any:
    if type_ not in _compiled:
        _compiled[type_] = _compiler.compile(type_)
    try:
        return _compiled[type_](tree)
    except _Refused as refused:
        raise ValidationError(refused.text) from None


def convert(obj: Any, type: Any) -> Any:
    """A value of this type from Python's own types; `ValidationError` where it does not fit."""
    return _convert(obj, type)


# --- 3. from values to bytes --------------------------------------------------------------------------------

_quoted = getattr(_json.encoder, "c_encode_basestring", None) or _json.encoder.encode_basestring


class _Writer:
    """Writes values, with the keys of objects by code point or as they stand."""

    def __init__(self, *, is_sorted: bool) -> None:
        self._is_sorted = is_sorted

    def write(self, value: Any) -> str:
        """The JSON of a value."""
        kind = type(value)
        if kind is str:
            return str(_quoted(value))
        if kind is bool:
            return "true" if value else "false"
        if kind is int:
            return str(value)
        if value is None:
            return "null"
        if isinstance(value, dict):
            return self._object([(key, value[key]) for key in sorted(value)] if self._is_sorted else value.items())
        if kind is list or kind is tuple:
            return "[" + ",".join([self.write(item) for item in value]) + "]"
        if isinstance(value, Struct):
            return self._object(_items(value))
        if kind is float:
            return _decimal(value)
        if kind is Raw:
            return str(value.decode())
        if kind is frozenset and self._is_sorted:
            return "[" + ",".join([self.write(item) for item in sorted(value)]) + "]"
        raise TypeError(f"the stand-in does not write {kind.__name__}")

    def _object(self, pairs: Iterable[tuple[str, Any]]) -> str:
        return "{" + ",".join([f"{_quoted(_checked(key))}:{self.write(value)}" for key, value in pairs]) + "}"


def _checked(key: Any) -> str:
    if type(key) is not str:
        raise TypeError("Only dicts with str keys are supported when `order` is not `None`")
    return key


def _items(value: Any) -> list[tuple[str, Any]]:
    fields = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
    return [(key, getattr(value, field)) for key, field in fields]


def _decimal(number: float) -> str:
    """The shortest decimal, as msgspec writes it: with an exponent below 1e-5 and from 1e16 on."""
    if not math.isfinite(number):
        return "null"
    mantissa, exponential, exponent = repr(number).partition("e")
    if not exponential:
        return mantissa
    if int(exponent) == -5:
        return format(Decimal(mantissa).scaleb(-5), "f")
    return f"{mantissa}e{int(exponent)}"


def to_builtins(obj: Any) -> Any:
    """The value in Python's own types."""
    if isinstance(obj, Struct):
        return {key: to_builtins(inner) for key, inner in _items(obj)}
    if isinstance(obj, dict):
        return {key: to_builtins(inner) for key, inner in obj.items()}
    if isinstance(obj, list | tuple):
        return type(obj)([to_builtins(inner) for inner in obj])
    return obj


# --- the module `msgspec.json` ------------------------------------------------------------------------------


class _Encoder:
    """Writes values; with `order="deterministic"`, which is the only one."""

    def __init__(self, *, order: str = "deterministic", decimal_format: str = "string") -> None:
        if (order, decimal_format) != ("deterministic", "string"):
            raise TypeError("the stand-in writes in one order only")

        self._writer = _Writer(is_sorted=True)

    def encode(self, obj: Any) -> bytes:
        """The bytes of a value."""
        return self._writer.write(obj).encode()


class _Decoder:
    """Reads values of one type."""

    def __init__(self, type: Any = Any, *, float_hook: Hook = None) -> None:
        self._type = type
        self._compiler = _Compiler(float_hook)
        self._read: Callable[[bytes | bytearray | str], Any] | None = None

    def decode(self, buf: bytes | bytearray | str) -> Any:
        """The value in the bytes; `DecodeError`, `ValidationError` or `UnicodeDecodeError`."""
        if self._read is None:
            self._read = self._reader()
        try:
            return self._read(buf)
        except _Refused as refused:
            raise ValidationError(refused.text) from None

    def _reader(self) -> Callable[[bytes | bytearray | str], Any]:
        if _holds_raw(self._type):
            return self._compiler.outermost(self._type)
        convert = self._compiler.compile(self._type)
        return lambda buf: convert(_tree(buf))


def _holds_raw(type_: Any) -> bool:
    if not (isinstance(type_, type) and issubclass(type_, Struct)):
        return False
    return Raw in _hints(type_).values()


def _encode(obj: Any) -> bytes:
    return _Writer(is_sorted=False).write(obj).encode()


_decoders: dict[Any, _Decoder] = {}


def _decode(buf: bytes | bytearray | str, *, type: Any = Any) -> Any:
    if type not in _decoders:
        _decoders[type] = _Decoder(type)
    return _decoders[type].decode(buf)


def _format(buf: bytes, *, indent: int = 2) -> bytes:
    return _json.dumps(_json.loads(buf), indent=indent, ensure_ascii=False).encode()


json = types.ModuleType("msgspec.json")
json.Encoder, json.Decoder = _Encoder, _Decoder  # type: ignore[attr-defined]
json.encode, json.decode, json.format = _encode, _decode, _format  # type: ignore[attr-defined]
