"""Commands of the console script, one a file; each has `add_arguments(parser)` and `run(args)`."""
