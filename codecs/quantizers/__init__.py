"""Quantizers: latents to ids and back."""
