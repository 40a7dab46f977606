"""Acceptance rules: which drafts are kept."""
