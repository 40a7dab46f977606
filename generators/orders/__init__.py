"""Orders: which tokens are learned and drawn when, and what they may see."""
