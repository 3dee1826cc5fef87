"""`python -m dataflow`, the same as the command `dataflow`."""

import sys

from dataflow.main import main

if __name__ == "__main__":
    sys.exit(main())
