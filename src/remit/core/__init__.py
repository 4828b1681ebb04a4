"""Types, errors and settings that every room shares; imports nothing of Remit above it."""
