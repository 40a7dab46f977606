"""Benchmarks: our implementation and a named baseline in turn, in one process."""
