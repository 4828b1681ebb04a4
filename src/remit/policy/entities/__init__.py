"""The project's own entities: their schema, their files, and values of their types."""

from remit.policy.entities.declared import Declared
from remit.policy.entities.files import NO_ENTITIES, Entities, load_entities, parse_with_engine

__all__ = ["NO_ENTITIES", "Declared", "Entities", "load_entities", "parse_with_engine"]
