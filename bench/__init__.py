"""Benchmarks and proofs, each a programme of its own."""
