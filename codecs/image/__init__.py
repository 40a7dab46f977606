"""Image tokenizers, one published system a file."""
