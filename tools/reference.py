"""Makes docs/reference/settings.md from the code, and collects the codes that docs/reference/codes.md must explain.

python tools/reference.py            writes the page, and says which codes the other one lacks
python tools/reference.py --check    writes nothing; exit 1 where a page is not true
"""

from __future__ import annotations

import argparse
import ast
import functools
import itertools
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from msgspec import inspect

from remit.core import errors, settings

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCE: Final = ROOT / "src" / "remit"
SETTINGS_PAGE: Final = ROOT / "docs" / "reference" / "settings.md"
REASONS: Final = SOURCE / "policy" / "reasons.py"  # its constants are codes
CODES_PAGE: Final = ROOT / "docs" / "reference" / "codes.md"

# --- settings -------------------------------------------------------------------------------------------------

_HEAD: Final = """\
# Settings: `remit.toml`

Made by `python tools/reference.py` from `src/remit/core/settings.py` and `src/remit/core/bounds.py`; a test compares.

`remit.toml` stands at the head of a project folder; `remit init` writes one with comments. `remit check` reads it, and
names file, line and fix for what is wrong. An unknown key stops the start, so that a misspelt setting is never ignored.
A running service reads it when it starts.
"""

_IDENTITIES: Final = """\
`remit.toml` declares the identities that exist from the first start on. What it says of them is what is registered;
their state (active, quarantined, retired) lives in the records alone, and no edit of this file brings one back. A name
has 1 to 64 characters: lower-case letters, digits, `.`, `_` and `-`, and begins with a letter or a digit.
Identities may also be registered with `remit workload add`, `remit starter add`, `remit pep add` and `remit approver
add`.
"""

_NO_IDENTITIES: Final = frozenset({"notifiers"})  # tables that may stand several times, and declare nobody

_ENVIRONMENT: Final = """\
## Environment

Settings have no names in the environment: what decides stands in files that can be reviewed. These variables say what
a command is about, and how it reaches a service that is not this folder's own.

| variable | what |
|---|---|
| `REMIT_PROJECT` | the project folder; `--project` overrides it. `remit run` sets it for the agent |
| `REMIT_TASK` | the file of a task grant, for gateways, `remit exec` and the SDK. `remit run` sets it |
| `REMIT_URL` | the service, on another machine or in another container: `https://remit.example.org`; or `--url` |
| `REMIT_CA` | PEM file: the authorities of that service's certificate, where the system does not know them; or `--ca` |
| `REMIT_CERTIFICATE` | PEM file: the X.509-SVID with which you connect there; or `--certificate` |
| `REMIT_KEY` | PEM file: the key of that X.509-SVID, mode 0600; or `--key` |
| `REMIT_OIDC_TOKEN_FILE` | the file of a token from elsewhere, for who has no key here; `…_STARTER_CI` is for \
`starter/ci` alone ([identities](../guides/identities.md#how-a-program-uses-a-token)) |
| `REMIT_OIDC_TOKEN` | the same, with the token itself |
| `REMIT_OIDC_AUDIENCE` | the audience of the tokens that GitHub Actions is asked for |
"""

_KINDS: Final = {
    inspect.StrType: "text",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "true or false",
    inspect.DateTimeType: "time with a zone",
    inspect.AnyType: "any value",
}


def settings_page() -> str:
    """The whole page."""
    top = inspect.type_info(settings.Settings)
    tables: list[str] = []
    seeds: list[str] = []
    own: list[inspect.Field] = []
    for field in _fields(top):
        inner = _struct_of(field.type)
        if inner is None:
            own.append(field)
        else:
            is_seed = isinstance(field.type, inspect.VarTupleType) and field.encode_name not in _NO_IDENTITIES
            (seeds if is_seed else tables).append(_section(inner))
    parts = [_HEAD, "## At the head of the file\n\n" + _table(own), *tables]
    parts += ["## Identities\n\n" + _IDENTITIES, *seeds, _ENVIRONMENT, _bounds()]
    return "\n".join(parts)


def _section(struct: inspect.StructType) -> str:
    name, _, rest = (struct.cls.__doc__ or "").partition(": ")
    is_below = name.startswith("`[[") and name.strip("`[]") not in _NO_IDENTITIES
    level = "###" if is_below or "." in name else "##"
    said = rest.strip()
    page = f"{level} {name}\n\n{said[:1].upper()}{said[1:]}\n\n{_table(_fields(struct))}"
    inner = [each for field in _fields(struct) if (each := _struct_of(field.type)) is not None]
    return "\n".join([page, *map(_section, inner)])


def _table(fields: list[inspect.Field]) -> str:
    rows = ["| key | type | default | what |", "|---|---|---|---|"]
    for field in fields:
        type_, description = _described(field.type)
        default = "required" if field.required else _default(_default_of(field))
        rows.append(f"| `{field.encode_name}` | {type_} | {default} | {description} |")
    return "\n".join(rows) + "\n"


def _described(type_: inspect.Type) -> tuple[str, str]:
    """How a type reads, and what its annotation says of it."""
    if isinstance(type_, inspect.Metadata):
        read, inner = _described(type_.type)
        said = (type_.extra_json_schema or {}).get("description", "")
        return read, said or inner
    if isinstance(type_, inspect.UnionType):
        some = [_described(each) for each in type_.types if not isinstance(each, inspect.NoneType)]
        return " or ".join(each[0] for each in some), next((each[1] for each in some if each[1]), "")
    if isinstance(type_, inspect.VarTupleType):
        read, said = _described(type_.item_type)
        return f"list of {'tables' if read.startswith('table,') else read}", said
    if isinstance(type_, inspect.DictType):
        return f"table of {_described(type_.value_type)[0]}", ""
    if isinstance(type_, inspect.StructType):
        return "table, below", ""
    if isinstance(type_, inspect.LiteralType):
        return ", ".join(f"`{value}`" for value in type_.values), ""
    if isinstance(type_, inspect.StrType) and type_.pattern:
        return "name", ""
    return _KINDS[type(type_)] + _range(type_), ""


def _range(type_: inspect.Type) -> str:
    if isinstance(type_, inspect.StrType):
        return f", at most {type_.max_length}" if type_.max_length else ""
    low = getattr(type_, "ge", None)
    above = getattr(type_, "gt", None)
    high = getattr(type_, "le", None)
    if high is None:
        return ""
    return f", {low:,} to {high:,}" if low is not None else f", above {above:,}, to {high:,}"


def _default_of(field: inspect.Field) -> Any:
    made = field.default_factory
    return made() if callable(made) else field.default


def _default(value: Any) -> str:
    if value is None or value in ("", (), {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, datetime):
        return f"`{value.isoformat()}`"
    if isinstance(value, tuple):
        return ", ".join(_default(each) for each in value)
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`"


def _struct_of(type_: inspect.Type) -> inspect.StructType | None:
    if isinstance(type_, inspect.Metadata):
        return _struct_of(type_.type)
    if isinstance(type_, inspect.VarTupleType):
        return _struct_of(type_.item_type)
    if isinstance(type_, inspect.UnionType):
        return next((found for each in type_.types if (found := _struct_of(each)) is not None), None)
    return type_ if isinstance(type_, inspect.StructType) else None


def _fields(struct: inspect.Type) -> list[inspect.Field]:
    return list(struct.fields) if isinstance(struct, inspect.StructType) else []


def _bounds() -> str:
    """The bounds of `core/bounds.py`, each with the comment that stands beside it."""
    rows = ["| bound | value | what |", "|---|---|---|"]
    for line in (SOURCE / "core" / "bounds.py").read_text("utf-8").splitlines():
        found = re.match(r"([A-Z_]+): Final = ([\d_ *]+?)\s*(?:# (.*))?$", line)
        if found:
            value = 1
            for factor in found[2].split("*"):
                value *= int(factor)
            rows.append(f"| `{found[1]}` | {value:,} | {found[3] or ''} |")
    table = "\n".join(rows) + "\n"
    return f"## Bounds\n\nEvery way in is bounded. These are no settings: they stand in `core/bounds.py`.\n\n{table}"


# --- codes ----------------------------------------------------------------------------------------------------

# Codes that are put together: the expression in the source, and what it can become.
COMPUTED: Final[dict[str, tuple[str, ...]]] = {
    "identity_{}": ("identity_quarantined", "identity_retired"),
    "task_{}": ("task_completed", "task_cancelled", "task_expired", "task_suspended"),
    "{}_missing": ("token_missing", "proof_missing", "task_token_missing"),
    "{}_too_large": ("token_too_large", "proof_too_large", "task_token_too_large"),
    "{}_invalid": ("token_invalid", "proof_invalid", "task_token_invalid"),
}
# Where a code stands among the arguments of other calls than errors.
_PLACES: Final = {"refuse": 1, "_gave_up": 2, "FrameError": 0}
_CODE: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@functools.cache
def codes() -> frozenset[str]:
    """Every reason code and error code in the source, the shipped, generated and template policies."""
    trees = [ast.parse(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))]
    names = _error_names(trees)
    found = {"document_invalid"}  # of a `DocumentError` that names no other
    constants = {name: text for tree in trees for name, text in _constants(tree)}
    found.update(text for _, text in _constants(ast.parse(REASONS.read_text("utf-8"))))
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for value in _codes_of(node, names):
                    found.update(_values(value, constants))
            elif isinstance(node, ast.Dict):
                found.update(_annotated(node))
    for path in sorted(SOURCE.rglob("*.cedar")):
        found.update(re.findall(r'^@reason\("(\w+)"\)', path.read_text("utf-8"), re.MULTILINE))
    return frozenset(found)


def explained() -> list[str]:
    """The codes that the page explains, in its order."""
    page = CODES_PAGE.read_text("utf-8") if CODES_PAGE.exists() else ""
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.MULTILINE)
    return [code for row in rows for code in re.findall(r"\w+", row)]


def _error_names(trees: list[ast.Module]) -> set[str]:
    """The names of all errors: `RemitError` and what is made from it."""
    names = {name for name, value in vars(errors).items() if isinstance(value, type)} - {"DocumentError", "Path"}
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for _ in range(4):
        for node in classes:
            if any(isinstance(base, ast.Name) and base.id in names for base in node.bases):
                names.add(node.name)
    return names


def _codes_of(node: ast.Call, names: set[str]) -> Iterator[ast.expr]:
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    yield from (keyword.value for keyword in node.keywords if keyword.arg == "code")
    if name in names and name != "DocumentError" and node.args:
        yield node.args[0]
    elif name in _PLACES and len(node.args) > _PLACES[name]:
        yield node.args[_PLACES[name]]


def _values(value: ast.expr, constants: dict[str, str]) -> Iterator[str]:
    """The codes that an expression stands for; none for one that only passes a code on."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and _CODE.fullmatch(value.value):
        yield value.value
    elif isinstance(value, ast.Name) and value.id in constants:
        yield constants[value.id]
    elif isinstance(value, ast.IfExp):
        yield from itertools.chain(_values(value.body, constants), _values(value.orelse, constants))
    elif isinstance(value, ast.JoinedStr):
        form = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in value.values)
        if form not in COMPUTED:
            raise SystemExit(f"`{form}` is a code that is put together: say in tools/reference.py what it can become")
        yield from COMPUTED[form]


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names of a module that stand for a code."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            if isinstance(value, str) and _CODE.fullmatch(value):
                yield node.target.id, value


def _annotated(node: ast.Dict) -> Iterator[str]:
    """The reasons of generated policies: annotations as a dict with `reason` and `message`."""
    keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
    if "reason" in keys and "message" in keys:
        value = node.values[keys.index("reason")]
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value


# --- the command ----------------------------------------------------------------------------------------------


def main() -> int:
    """Writes or checks."""
    parser = argparse.ArgumentParser(description="Make the reference pages, or check them.")
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    page = settings_page()
    written = SETTINGS_PAGE.read_text("utf-8") if SETTINGS_PAGE.exists() else ""
    wrong = False
    if page != written and check:
        print(f"{SETTINGS_PAGE.relative_to(ROOT)} is not what the code says: run `python tools/reference.py`")
        wrong = True
    elif page != written:
        SETTINGS_PAGE.write_text(page, "utf-8")
        print(f"wrote {SETTINGS_PAGE.relative_to(ROOT)}")
    there, said = codes(), explained()
    for what, names in (("lacks", there - set(said)), ("explains what is gone:", set(said) - there)):
        for name in sorted(names):
            print(f"{CODES_PAGE.relative_to(ROOT)} {what} `{name}`")
            wrong = True
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
