"""Evaluation of audio codecs: metrics, classic codecs to compare with, tables, plots, report."""
