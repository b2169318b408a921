"""Which version this is: of the interface (a Vault-like semantic version, for clients that look) and of the program."""

API_VERSION = "2.0.0"


def program_version() -> str:
    """The installed package's version, or the empty string when it runs without being installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("strongroom")
    except PackageNotFoundError:
        return ""


def version_line() -> str:
    """``Strongroom v<interface version> (program <version>)``; clients parse the second word."""
    program = program_version()
    return f"Strongroom v{API_VERSION}" + (f" (program {program})" if program else "")
