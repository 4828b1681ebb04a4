"""Records, their hash-linked streams, exports, and the verifier that stands alone."""
