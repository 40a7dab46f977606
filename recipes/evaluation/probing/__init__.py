"""What frozen tokens of a codec hold: linear probes, and how predictable the tokens are."""
