"""``python -m strongroom`` is the command line."""

import sys

from strongroom.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
