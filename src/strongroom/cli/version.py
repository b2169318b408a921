"""Which version this is: of the interface (a Vault-like semantic version, for clients that look) and of the program."""

import os
import re

API_VERSION = "1.21.0"  # equal to core.core.REPORTED_VERSION (a test says so); not imported, to start quickly
_SEMVER = re.compile(r"\d+\.\d+\.\d+(\+[0-9A-Za-z.]+)?")


def program_version() -> str:
    """The program's own version."""
    from strongroom import __version__

    return __version__


def version_line() -> str:
    """``Strongroom v<interface version> (program <version>)``; clients parse the second word.

    STRONGROOM_VERSION sets the interface version here as it does for the server.
    """
    given = os.environ.get("STRONGROOM_VERSION", "")
    shown = given if _SEMVER.fullmatch(given) else API_VERSION
    return f"Strongroom v{shown} (program {program_version()})"
