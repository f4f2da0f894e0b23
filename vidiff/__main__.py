"""`python -m vidiff` is the same program as the script `vidiff`."""

import sys

from vidiff.cli import main

if __name__ == "__main__":
    sys.exit(main())
