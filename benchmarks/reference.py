"""Predicted against measured iteration times: python benchmarks/reference.py FILE.csv [--json FILE]."""

import sys

from pinisi.bench.reference import main

if __name__ == "__main__":
    sys.exit(main())
