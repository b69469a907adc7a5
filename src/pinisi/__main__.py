"""`python -m pinisi` is the command line."""

import sys

from pinisi.cli import main

sys.exit(main())
