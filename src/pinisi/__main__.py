"""`python -m pinisi` is the command line."""

import sys

from pinisi.cli.main import main

sys.exit(main())
