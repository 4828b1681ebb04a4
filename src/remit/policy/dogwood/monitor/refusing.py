"""Which clauses are refused when they are loaded, because nothing bounds what a monitor would hold for them.

The grammar gives each operator a window, acceptance a finite set of values to each variable, and events are of one
history each. So the rows of a clause are bounded by the events within its windows, as long as

1. each window has an end that some event can be within: it is longer than nothing;
2. the windows within one another add up to no more than histories are looked back on.

What is longer than the event schema's `max_window` was refused before. What has no state linear in its events is not
refused: it keeps the events themselves, and looks through them.
"""

from __future__ import annotations

from typing import Final

from remit.policy.dogwood.ast import Formerly, Leaf, Previous, Since
from remit.policy.dogwood.extent import conditions, reach_of
from remit.policy.dogwood.mistakes import Mistake

LONGEST_DAYS: Final = 400  # that windows within one another reach back
_DAY_MS: Final = 86_400_000


def check(leaf: Leaf) -> None:
    """Raises the `Mistake` for which a clause is refused."""
    for each in conditions(leaf.condition):
        if not isinstance(each, Formerly | Previous | Since):
            continue
        if each.window.ms <= 0:
            raise Mistake(
                each.at, f"the window `{each.window}` holds no time", "write one of at least `1s`, such as `within 1h`"
            )
        reach = reach_of(each)
        if reach > LONGEST_DAYS * _DAY_MS:
            raise Mistake(
                each.at,
                f"this looks back {-(-reach // _DAY_MS):,} days with the windows in it added up, and histories are "
                f"kept for {LONGEST_DAYS}: nothing would bound its state",
                "shorten the windows, or do not put them within one another",
            )
