"""S and T of the vocabulary head against the matrix rate: python benchmarks/vocabulary.py --json FILE."""

import sys

from pinisi.bench.vocabulary import main

if __name__ == "__main__":
    sys.exit(main())
