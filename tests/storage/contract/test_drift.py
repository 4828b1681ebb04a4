"""What `tests/decide` promises of habits and risk, with the records in PostgreSQL."""

from __future__ import annotations

from tests.decide import test_novelty, test_risk
from tests.storage.contract.stages import on_postgres

globals().update(
    on_postgres(
        test_novelty,
        leave=(
            # What is of no storage and takes long, or is told to SQLite's own sequencer.
            "test_a_thousand_calls_in_one_night_do_not_make_a_tool_habitual",
            "test_an_outcome_that_never_became_durable_teaches_nothing",
            "test_nobody_else_has_habits_forgotten",
            "test_policies_see_it",
            "test_steps_are_learned_from_one_action_to_the_next",
            "test_what_makes_no_sense_changes_nothing",
        ),
    )
)
globals().update(on_postgres(test_risk, leave=("test_a_quarantine_that_could_not_be_recorded_did_not_happen",)))
del test_novelty, test_risk
