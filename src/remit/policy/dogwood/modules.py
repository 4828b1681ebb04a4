"""The project's own code for information providers: found, imported once at load, and part of the configuration.

A module of the folder `providers/` comes before an installed one of the same name. Each load imports the folder anew,
as a package of its own: modules of it import each other with `from . import …`, and a reload takes up what changed.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

FOLDER: Final = "providers"
MAX_BYTES: Final = 4 * 1024 * 1024  # of the folder's modules together
_NUMBERS = itertools.count(1)


class Modules:
    """The code of one load."""

    def __init__(self, root: Path | None) -> None:
        self._folder = root / FOLDER if root is not None and (root / FOLDER).is_dir() else None
        self._package = ""
        self._found: dict[str, ModuleType] = {}
        self.loaded: dict[str, str] = {}  # each function's `module:function`, and the file that it is of

    def texts(self) -> dict[str, str]:
        """The modules of the folder: each path, and what it says. Raises `ValueError`."""
        found: dict[str, str] = {}
        folder = self._folder
        if folder is None:
            return found
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
        folder = self._folder
        is_own = folder is not None and file.is_relative_to(folder)
        self.loaded[call] = str(file.relative_to(folder.parent) if is_own and folder is not None else file)
        result: Callable[..., Any] = function
        return result

    def _imported(self, name: str) -> ModuleType:
        own = self._own(name)
        try:
            return importlib.import_module(own or name)
        except ModuleNotFoundError as error:
            if error.name is not None and (own or name).startswith(error.name):
                raise ValueError(f"there is no module `{name}`, in `{FOLDER}/` or installed") from None
            raise ValueError(f"the module `{name}` can't be imported: {error}") from error
        except Exception as error:
            # What a module does when it is imported is its own.
            raise ValueError(f"the module `{name}` can't be imported: {type(error).__name__}: {error}") from error

    def _own(self, name: str) -> str:
        """The full name of a module of the folder; "" where it has none of this name."""
        if self._folder is None:
            return ""
        path = self._folder.joinpath(*name.split("."))
        if not (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()):
            return ""
        if not self._package:
            mark = hashlib.sha256(str(self._folder).encode()).hexdigest()[:8]
            self._package = f"_remit_providers_{mark}_{next(_NUMBERS)}"
            package = ModuleType(self._package)
            package.__path__ = [str(self._folder)]
            sys.modules[self._package] = package
            # A module that changed within the clock's grain would be taken from where its bytes were kept.
            importlib.invalidate_caches()
        return f"{self._package}.{name}"
