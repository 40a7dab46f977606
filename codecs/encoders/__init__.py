"""Encoders: signals to latents."""
