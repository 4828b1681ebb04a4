"""The project's own code for information providers: read once at load, imported, and part of the configuration.

A module of the folder `providers/` comes before an installed one of the same name. Each load has the folder's modules
anew, as a package of its own: they import each other with `from . import …`, and a reload takes up what changed.

SECURITY: what runs is compiled from the very texts that the configuration's digest is of, never from kept bytecode.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any, Final

FOLDER: Final = "providers"
MAX_BYTES: Final = 4 * 1024 * 1024  # of the folder's modules together
KEPT: Final = 8  # loads whose modules can still import each other
_PREFIX: Final = "_remit_providers_"
_NUMBERS = itertools.count(1)


class Modules:
    """The code of one load. Raises `ValueError`, with a sentence, where the folder can't be read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.texts = _read(root / FOLDER) if (root / FOLDER).is_dir() else {}  # by path: `providers/a.py`
        self.loaded: dict[str, str] = {}  # each function's `module:function`, and the file that it is of
        self._package = _FINDER.add(root, self.texts) if self.texts else ""
        self._found: dict[str, ModuleType] = {}

    def function(self, call: str) -> Callable[..., Any]:
        """What `module:function` names. Raises `ValueError` with a sentence."""
        name, _, attribute = call.partition(":")
        module = self._found.get(name)
        if module is None:
            module = self._found[name] = self._imported(name)
        function = getattr(module, attribute, None)
        if not callable(function):
            raise ValueError(f"the module `{name}` has no function `{attribute}`")
        file = Path(getattr(module, "__file__", None) or name)
        self.loaded[call] = str(file.relative_to(self._root) if file.is_relative_to(self._root) else file)
        result: Callable[..., Any] = function
        return result

    def _imported(self, name: str) -> ModuleType:
        own = f"{FOLDER}/{name.replace('.', '/')}"
        full = f"{self._package}.{name}" if {f"{own}.py", f"{own}/__init__.py"} & set(self.texts) else name
        try:
            return importlib.import_module(full)
        except ModuleNotFoundError as error:
            if error.name is not None and full.startswith(error.name):
                raise ValueError(f"there is no module `{name}`, in `{FOLDER}/` or installed") from None
            raise ValueError(f"the module `{name}` can't be imported: {error}") from error
        except Exception as error:
            # What a module does when it is imported is its own.
            raise ValueError(f"the module `{name}` can't be imported: {type(error).__name__}: {error}") from error


class _Finder(MetaPathFinder):
    """Finds the modules of the last loads, below the name of each one's package."""

    def __init__(self) -> None:
        self._packages: dict[str, Mapping[str, tuple[Path, str]]] = {}

    def add(self, root: Path, texts: Mapping[str, str]) -> str:
        """A new package of these modules: its name."""
        name = f"{_PREFIX}{next(_NUMBERS)}"
        modules: dict[str, tuple[Path, str]] = {name: (root / FOLDER / "__init__.py", "")}
        for path, text in texts.items():
            parts = path.removesuffix(".py").split("/")[1:]
            if parts[-1] == "__init__":
                parts.pop()
            modules[".".join([name, *parts])] = (root / path, text)
            for end in range(1, len(parts)):
                modules.setdefault(".".join([name, *parts[:end]]), (root.joinpath(*parts[:end], "__init__.py"), ""))
        self._packages[name] = modules
        if len(self._packages) > KEPT:
            for old in self._packages.pop(next(iter(self._packages))):
                sys.modules.pop(old, None)
        if self not in sys.meta_path:
            sys.meta_path.append(self)
        return name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `MetaPathFinder.find_spec`."""
        modules = self._packages.get(fullname.partition(".")[0], {})
        if fullname not in modules:
            return None
        file, text = modules[fullname]
        is_package = file.name == "__init__.py"
        spec = spec_from_loader(fullname, _Loader(file, text), origin=str(file), is_package=is_package)
        if spec is not None:
            spec.has_location = True
        return spec


class _Loader(InspectLoader):
    """One module, from its text."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text

    def get_source(self, fullname: str) -> str:
        """As `InspectLoader.get_source`."""
        return self._text

    def get_filename(self, fullname: str) -> str:
        """Where it was read, for tracebacks."""
        return str(self._file)

    def is_package(self, fullname: str) -> bool:
        """As `InspectLoader.is_package`."""
        return self._file.name == "__init__.py"

    def get_code(self, fullname: str) -> Any:
        """As `InspectLoader.get_code`."""
        return self.source_to_code(self._text, str(self._file))


_FINDER: Final = _Finder()


def _read(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    size = 0
    for file in sorted(folder.rglob("*.py")):
        path = f"{FOLDER}/{file.relative_to(folder).as_posix()}"
        size += file.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"the folder `{FOLDER}/` has more than {MAX_BYTES} bytes of code")
        if file.stat().st_mode & 0o002:
            # SECURITY: whoever writes here decides.
            raise ValueError(f"everybody may write `{path}`: give it mode 0644")
        found[path] = file.read_text(encoding="utf-8")
    return found
