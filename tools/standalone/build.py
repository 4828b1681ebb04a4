"""Builds `dist/remit-verify.pyz`, the verifier in one file (PEP 441): the same bytes from the same source.

1. From `remit.ledger.standalone` (and `remit.policy.recorded`, which needs the engine) every import is followed, in the
   source, without running it.
2. SECURITY: what is neither of Remit, nor of Python's own library, nor `cryptography` (nor, for the engine's part,
   `cedarpy`) fails the build, and so does a name of `msgspec` that the stand-in has not.
3. The modules are put into a zip file without compression, in the order of their names, with one fixed time and mode.
4. Its SHA-256 is printed: what an auditor compares.

    python tools/standalone/build.py [FILE]
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import os
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).resolve().parent
SOURCE: Final = ROOT / "src"
TARGET: Final = ROOT / "dist" / "remit-verify.pyz"

ENTRY: Final = "remit.ledger.standalone"
ENGINE: Final = "remit.policy.recorded"
OUTSIDE: Final = frozenset({"cryptography"})
OUTSIDE_ENGINE: Final = OUTSIDE | {"cedarpy"}
STAND_IN: Final = "msgspec"
# Packages whose own module would import more than the verifier needs; nothing is taken from them by name.
EMPTY: Final = {"remit.policy": '"""Policies, as far as the verifier needs them."""\n'}

_SHEBANG: Final = b"#!/usr/bin/env python3\n"
_TIME: Final = (1980, 1, 1, 0, 0, 0)


class BuildError(Exception):
    """The verifier can't be built from this source."""


class Imports(ast.NodeVisitor):
    """The imports of one module that are made when it runs, by module, with the names that are taken."""

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = {}
        self.attributes: set[str] = set()  # dotted names below `msgspec`

    def visit_If(self, node: ast.If) -> None:
        """Imports for type checkers only are not made."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for each in node.orelse:
                self.visit(each)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """`import a.b`."""
        for alias in node.names:
            self.found.setdefault(alias.name, set())

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """`from a import b`."""
        if node.level or node.module is None:
            raise BuildError(f"line {node.lineno}: a relative import")
        self.found.setdefault(node.module, set()).update(alias.name for alias in node.names)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """`msgspec.x.y`."""
        dotted = _dotted(node)
        if dotted.startswith(f"{STAND_IN}."):
            self.attributes.add(dotted.removeprefix(f"{STAND_IN}."))
        self.generic_visit(node)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{_dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def modules() -> dict[str, str]:
    """The source of every module that is packed, by its name."""
    packed: dict[str, str] = {}
    for entry, outside in ((ENTRY, OUTSIDE), (ENGINE, OUTSIDE_ENGINE)):
        waiting = [entry]
        while waiting:
            name = waiting.pop()
            if name in packed:
                continue
            packed[name] = EMPTY[name] if name in EMPTY else _file(name).read_text("utf-8")
            if "." in name:
                waiting.append(name.rpartition(".")[0])
            waiting.extend(_needed(name, packed[name], outside))
    return packed


def _needed(name: str, text: str, outside: frozenset[str]) -> Iterator[str]:
    """The modules of Remit that a module imports; everything else that it imports is checked."""
    imports = Imports()
    imports.visit(ast.parse(text, name))
    for module, names in imports.found.items():
        top = module.partition(".")[0]
        if top == "remit":
            yield module
            for each in names:
                if _is_module(f"{module}.{each}"):
                    yield f"{module}.{each}"
                elif module in EMPTY:
                    raise BuildError(f"`{name}` takes `{each}` from `{module}`, which is packed empty")
        elif top == STAND_IN:
            imports.attributes |= names
        elif top not in sys.stdlib_module_names and top not in outside:
            raise BuildError(f"`{name}` imports `{module}`, which the verifier must not need")
    for attribute in sorted(imports.attributes):
        if not _stands_in(attribute):
            raise BuildError(f"`{name}` uses `{STAND_IN}.{attribute}`, which the stand-in does not have")


def _stands_in(attribute: str) -> bool:
    """Whether the stand-in has `attribute`, or the beginning of it that is no module."""
    names = stand_in_names()
    first, _, rest = attribute.partition(".")
    return attribute in names or (first in names and (not rest or first != "json"))


def stand_in_names() -> frozenset[str]:
    """What the stand-in offers, and below `json` what that offers."""
    tree = ast.parse((HERE / "standin.py").read_text("utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for each in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if (dotted := _dotted(each)).startswith("json."):
                        names.add(dotted)
                if isinstance(target, ast.Name) and target.id == "__all__" and isinstance(node.value, ast.List):
                    names |= {str(each.value) for each in node.value.elts if isinstance(each, ast.Constant)}
    return frozenset(names)


def _file(name: str) -> Path:
    path = SOURCE.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.is_file():
        raise BuildError(f"there is no module `{name}`")
    return file


def _is_module(name: str) -> bool:
    path = SOURCE.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def archive() -> bytes:
    """The bytes of the file."""
    files = {"__main__.py": (HERE / "main.py").read_bytes(), "standin.py": (HERE / "standin.py").read_bytes()}
    files["LICENSE"] = (ROOT / "LICENSE").read_bytes()
    for name, text in modules().items():
        path = name.replace(".", "/")
        files[f"{path}/__init__.py" if SOURCE.joinpath(path).is_dir() else f"{path}.py"] = text.encode()
    made = io.BytesIO()
    made.write(_SHEBANG)
    with zipfile.ZipFile(made, "a", zipfile.ZIP_STORED) as zipped:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _TIME)
            entry.create_system = 3  # Unix, wherever it is built
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            zipped.writestr(entry, files[path])
    return made.getvalue()


def build(target: Path = TARGET) -> str:
    """Writes the file; returns its SHA-256."""
    data = archive()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".new")
    temporary.write_bytes(data)
    temporary.chmod(0o755)
    os.replace(temporary, target)
    return hashlib.sha256(data).hexdigest()


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Build the verifier in one file, and print its SHA-256.")
    parser.add_argument("target", nargs="?", type=Path, default=TARGET, help=f"the file to write (default: {TARGET})")
    target: Path = parser.parse_args(arguments).target
    try:
        digest = build(target)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{digest}  {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
