"""Decoders: latents to signals."""
