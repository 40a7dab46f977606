"""Sampling from a generator: requests, pipelines, files, generators shipped with the package."""
