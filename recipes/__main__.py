"""``python -m intaglio.recipes``: the command line without the console script."""

import sys

from intaglio.recipes.cli import main

sys.exit(main())
