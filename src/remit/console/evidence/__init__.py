"""Evidence for auditors: what frameworks ask, how Remit enforces it, and what the records of a period show of it."""
