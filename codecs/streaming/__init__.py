"""Streams: layers, codecs and long signals, block by block."""
