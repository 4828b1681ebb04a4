"""What `tests/decide` promises, with the records in PostgreSQL."""

from __future__ import annotations

from tests.decide import (
    test_asking,
    test_folding,
    test_identities,
    test_limits,
    test_outcomes,
    test_pipeline,
    test_sweep,
    test_tasks,
    test_temporal,
)
from tests.storage.contract.stages import on_postgres

# What a test does to SQLite's own connection is done to PostgreSQL's in `tests/storage/postgres`.
OTHERWISE = {
    "test_temporal": (
        "test_a_failed_commit_leaves_nothing_in_a_history",
        "test_a_change_that_can_not_be_recorded_changes_nothing",
        "test_a_start_goes_on_from_a_dump_of_a_history",
        "test_a_damaged_dump_permits_nothing_more",
    ),
    "test_sweep": (
        "test_what_is_due_is_known_again_after_a_restart",
        "test_a_sweep_that_fails_is_done_again",
        "test_the_sweeper_goes_on_by_itself_after_a_failure",
        "test_a_sweep_costs_what_is_due_and_not_what_is_kept",
    ),
}

for module in (
    test_asking,
    test_folding,
    test_identities,
    test_limits,
    test_outcomes,
    test_pipeline,
    test_sweep,
    test_tasks,
    test_temporal,
):
    globals().update(on_postgres(module, leave=OTHERWISE.get(module.__name__.rpartition(".")[2], ())))
del (
    module,
    test_asking,
    test_folding,
    test_identities,
    test_limits,
    test_outcomes,
    test_pipeline,
    test_sweep,
    test_tasks,
    test_temporal,
)
