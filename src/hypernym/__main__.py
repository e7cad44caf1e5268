"""`python -m hypernym`, which is also what torchrun starts."""

import sys

from hypernym.cli import main

if __name__ == "__main__":
    sys.exit(main())
