"""Evaluation of image codecs: metrics, features, classic codecs."""
