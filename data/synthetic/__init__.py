"""Audio and images made on the fly, for tests and debug recipes."""
