"""Figures, each as the bytes of a PNG."""
