"""Drafters: where drafts come from."""
