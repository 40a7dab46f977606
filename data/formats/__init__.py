"""File formats: the token file and guarded audio reading."""
