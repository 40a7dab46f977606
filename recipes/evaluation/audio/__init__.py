"""Evaluation of audio codecs: metrics, classic codecs, the suite."""
