"""Evaluation of generators: likelihood, probes, distances of samples."""
