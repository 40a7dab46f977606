"""Losses of codec training."""
