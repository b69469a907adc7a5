"""Runs the command line: `python -m pinisi`."""

import sys

from pinisi.cli import main

sys.exit(main())
