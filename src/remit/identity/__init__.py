"""Who: SPIFFE IDs, JWT-SVIDs, keys, proofs of possession and task tokens."""
