"""Generators over the tokens of codecs: parts by kind, published systems by name."""

from intaglio.generators.generator import Generator
from intaglio.generators.load import load

__all__ = ["Generator", "load"]
