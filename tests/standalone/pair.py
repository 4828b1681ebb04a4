"""Modules of Remit loaded twice: with msgspec, and with the stand-in of the one-file verifier in its place."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "tools" / "standalone"


def stand_in() -> ModuleType:
    """The stand-in, under a name of its own."""
    return _loaded("standin")


def builder() -> ModuleType:
    """What builds the file."""
    return _loaded("build")


def with_stand_in(*names: str) -> list[ModuleType]:
    """These modules of Remit, and all that they import, loaded anew on the stand-in."""
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("remit", "msgspec")}
    for name in kept:
        del sys.modules[name]
    sys.modules["msgspec"] = stand_in()
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        for name in [each for each in sys.modules if each.partition(".")[0] in ("remit", "msgspec")]:
            del sys.modules[name]
        sys.modules.update(kept)


_modules: dict[str, ModuleType] = {}


def _loaded(name: str) -> ModuleType:
    if name not in _modules:
        spec = importlib.util.spec_from_file_location(f"remit_verify_{name}", FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        _modules[name] = module
    return _modules[name]
