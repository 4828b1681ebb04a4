"""Cedar policies compiled to Python (docs/design/compiled.md): evaluated without parsing anything again."""
