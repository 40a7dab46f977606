"""Audio codecs, one published system a file."""
