"""Lightning callbacks of the recipes."""
