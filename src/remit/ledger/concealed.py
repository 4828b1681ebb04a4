"""Recorded facts as far as they are known: what stands for a personal value or a long string is no value."""

from __future__ import annotations

from typing import Any, Final

from remit.core.evaluations import Path

_LONG_STRING: Final = {"bytes", "sha256"}
# Without these bytes in a record, everything in it is known as it stands.
MARKS: Final = (b'"commitment":', b'"sha256":', b'"literal":')


def known(facts: Any, at: Path = ()) -> tuple[Any, frozenset[Path]]:
    """`facts` with `literal` objects unwrapped, and the paths of what is there but concealed, where "" stands now.

    What is concealed in a list conceals the whole list.
    """
    hidden: set[Path] = set()
    return _known(facts, at, hidden), frozenset(hidden)


def may_conceal(data: bytes) -> bool:
    """Whether a record's bytes may hold something that is not the value itself."""
    return any(mark in data for mark in MARKS)


def _known(node: Any, at: Path, hidden: set[Path]) -> Any:
    if isinstance(node, list):
        below: set[Path] = set()
        items = [_known(item, (), below) for item in node]
        if below:
            hidden.add(at)
        return items
    if not isinstance(node, dict):
        return node
    keys = node.keys()
    if keys == {"commitment"} or keys == _LONG_STRING:
        hidden.add(at)
        return ""
    if keys == {"literal"} and isinstance(node["literal"], dict):
        # What stands in it was sent as it is; only what is below it may be concealed.
        node = node["literal"]
    return {key: _known(value, (*at, key), hidden) for key, value in node.items()}


def put(body: dict[str, Any], path: str, value: Any) -> None:
    """Puts an opened value in the place of its commitment, at a JSON Pointer (RFC 6901) that is known to be there."""
    *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    node: Any = body
    for step in steps:
        node = node[int(step) if isinstance(node, list) else step]
        if isinstance(node, dict) and node.keys() == {"literal"} and isinstance(node["literal"], dict):
            node = node["literal"]  # no step of a pointer
    node[int(last) if isinstance(node, list) else last] = value
