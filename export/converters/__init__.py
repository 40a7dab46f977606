"""Converters: published weights, under their authors' names, to codecs of this package."""
