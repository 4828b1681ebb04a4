"""`remit-verify`: the verifier of Remit in one file, for whoever trusts nobody.

1. The stand-in takes the place of `msgspec` (see `standin.py`): nothing but Python and `cryptography` is needed.
2. Where the policy engine is installed (`pip install cedarpy==4.12.2`), decisions are evaluated again, too.
3. `remit.ledger.standalone` does the rest: it is the same code that `remit verify` runs.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this file has not installed Remit
    sys.exit("error: this needs Python 3.11 or newer")

import standin

sys.modules["msgspec"] = standin
sys.modules["msgspec.json"] = standin.json

try:
    from remit.ledger.standalone import main
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "cryptography":
        raise
    sys.exit("error: this needs the package `cryptography`\n  next: `pip install cryptography`")

try:
    from remit.policy.recorded import RecordedPolicies
except ImportError:
    RecordedPolicies = None

_WITHOUT = "decisions are evaluated again where the policy engine is installed: `pip install cedarpy==4.12.2`"


class _Engine:
    """The policy engine on recorded texts; fulfils `remit.core.evaluations.Evaluator`."""

    def policies(self, *recorded):
        """As `Evaluator.policies`."""
        return RecordedPolicies(*recorded)


def run(arguments):
    """Runs the command; returns its exit code."""
    return main(arguments, _Engine() if RecordedPolicies else None, _WITHOUT)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
