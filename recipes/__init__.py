"""The command line, the recipes and what runs them."""
