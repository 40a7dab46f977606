"""Conditions: what a generator is told, and how strongly it listens."""
