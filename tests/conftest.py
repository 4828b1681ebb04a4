"""Fixtures for every test."""

from __future__ import annotations

from tests.postgres import own_postgres, postgres

__all__ = ["own_postgres", "postgres"]
