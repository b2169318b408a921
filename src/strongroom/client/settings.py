"""Where the server is and how to speak to it, gathered from environment variables.

A variable ``X`` is looked for as ``STRONGROOM_X``, then ``BAO_X``, then ``VAULT_X``; the first that is set and not
empty counts. Flags of the command line are laid over the result with ``_replace``.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from strongroom.errors import BadRequest

PREFIXES = ("STRONGROOM_", "BAO_", "VAULT_")
DEFAULT_ADDRESS = "https://127.0.0.1:8200"
DEFAULT_TIMEOUT = 60.0  # seconds
DEFAULT_RETRIES = 2
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATIONS = re.compile(rf"(?:{_DURATION.pattern})+")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Settings(NamedTuple):
    """Everything a transport needs. Paths are file names, times are seconds."""

    address: str = DEFAULT_ADDRESS  # http://, https:// or unix:///path/of/socket
    token: str = ""
    namespace: str = ""
    wrap_ttl: str = ""
    ca_cert: str = ""  # PEM file
    ca_bytes: str = ""  # PEM text; wins over ca_cert, as in Vault
    ca_path: str = ""  # folder of PEM files
    client_cert: str = ""
    client_key: str = ""
    tls_server_name: str = ""
    skip_verify: bool = False
    proxy: str = ""
    max_retries: int = DEFAULT_RETRIES
    timeout: float = DEFAULT_TIMEOUT
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Settings(address={self.address!r}, namespace={self.namespace!r})"


def variable(environ: Mapping[str, str], name: str) -> str:
    """The value of ``name`` under the first prefix that has one, or the empty string."""
    for prefix in PREFIXES:
        if value := environ.get(prefix + name, ""):
            return value
    return ""


def variable_name(environ: Mapping[str, str], name: str) -> str:
    """The full name of the variable that ``variable`` takes its value from (for messages)."""
    return next((prefix + name for prefix in PREFIXES if environ.get(prefix + name)), "VAULT_" + name)


def parse_bool(text: str, what: str) -> bool:
    """Go's ``strconv.ParseBool`` forms. Raises ``BadRequest`` naming ``what`` for anything else."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise BadRequest(f"{what} must be true or false")


def parse_seconds(text: str, what: str) -> float:
    """Seconds from ``60``, ``60s``, ``500ms``, ``2m``, ``1h`` or ``1h30m``. Raises ``BadRequest`` naming ``what``."""
    parts = _DURATION.findall(text) if _DURATIONS.fullmatch(text) else [(text, "s")]
    try:
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400 * 365:
        raise BadRequest(f"{what} is not a duration such as 60s")
    return seconds


def from_environment(environ: Mapping[str, str], *, max_retries: int = DEFAULT_RETRIES) -> Settings:
    """Settings from environment variables.

    Raises:
        BadRequest: a variable holds something that is not a number, a duration or a boolean.
    """
    skip = variable(environ, "SKIP_VERIFY")
    retries = variable(environ, "MAX_RETRIES")
    timeout = variable(environ, "CLIENT_TIMEOUT")
    if retries and not (retries.isascii() and retries.isdigit() and len(retries) < 4):
        raise BadRequest(f"{variable_name(environ, 'MAX_RETRIES')} is not a small whole number")
    return Settings(
        address=variable(environ, "ADDR") or DEFAULT_ADDRESS,
        token=variable(environ, "TOKEN").strip(),
        namespace=variable(environ, "NAMESPACE"),
        wrap_ttl=variable(environ, "WRAP_TTL"),
        ca_cert=variable(environ, "CACERT"),
        ca_bytes=variable(environ, "CACERT_BYTES"),
        ca_path=variable(environ, "CAPATH"),
        client_cert=variable(environ, "CLIENT_CERT"),
        client_key=variable(environ, "CLIENT_KEY"),
        tls_server_name=variable(environ, "TLS_SERVER_NAME"),
        skip_verify=parse_bool(skip, variable_name(environ, "SKIP_VERIFY")) if skip else False,
        proxy=variable(environ, "PROXY_ADDR") or variable(environ, "HTTP_PROXY"),
        max_retries=int(retries) if retries else max_retries,
        timeout=(parse_seconds(timeout, variable_name(environ, "CLIENT_TIMEOUT")) if timeout else 0) or DEFAULT_TIMEOUT,
    )
