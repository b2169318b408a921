"""What ``--check-config`` says: a configuration is read, and what it names is looked at, without starting anything."""

import os
from collections.abc import Mapping

from strongroom.errors import BadRequest
from strongroom.server.config import load
from strongroom.server.tls import check_files
from strongroom.server.vault_node import check_audit


def check_config(path: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """What is wrong with the configuration at ``path``, one sentence each; warnings begin with ``warning: ``."""
    try:
        config = load([path], environ)
    except BadRequest as error:
        return [str(error)]
    problems = [problem for listener in config.listeners if listener.tls for problem in check_files(listener.tls)]
    problems += check_audit(config)
    return [*problems, *(f"warning: {line}" for line in config.warnings)]
