"""Scripts that show how the parts are used from Python: copy one and change it."""
