"""Benchmarks: ours and a named baseline in turn, in one process."""
