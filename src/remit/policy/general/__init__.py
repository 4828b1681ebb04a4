"""Remit as a general PDP: questions about the project's own entities, and searches."""

from remit.policy.general.pdp import General
from remit.policy.questions import Found, Named, Question, What

__all__ = ["Found", "General", "Named", "Question", "What"]
