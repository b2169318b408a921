"""A cluster asked through the ``kubectl`` program, which knows kubeconfigs, credential plug-ins and proxies.

``KUBECTL`` names another program. It is started without a shell. Nothing of what it prints gets into an error, except
its own first line of complaint, and that only when it cannot hold an object.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from strongroom.errors import Hinted

TIMEOUT = 120.0  # seconds for one call; a namespace may hold 100 MB of Secrets
_LONGEST = 300  # characters of kubectl's own words that are repeated
_HINTS = {
    "(Forbidden)": "the kubeconfig's user lacks a right; kubectl auth can-i tells which",
    "(NotFound)": "",
    "context": "kubectl config get-contexts lists the contexts",
    "Unable to connect": "is the cluster reachable? kubectl cluster-info tells",
    "refused": "is the cluster reachable? kubectl cluster-info tells",
}


class KubectlFailed(Hinted):
    """``kubectl`` could not be started, ended with an error, or answered nothing usable; ``hint`` says what may help.

    ``missing`` tells that the object asked for does not exist.
    """

    def __init__(self, message: str, hint: str = "", *, missing: bool = False) -> None:
        super().__init__(message, hint)
        self.missing = missing


class Cluster:
    """One cluster: what ``kubectl --kubeconfig --context`` reaches."""

    def __init__(
        self,
        kubeconfig: str = "",
        context: str = "",
        *,
        environ: Mapping[str, str] = os.environ,
        timeout: float = TIMEOUT,
    ) -> None:
        self._program = environ.get("KUBECTL") or "kubectl"
        # With "=", so that a value that begins with a dash is a value.
        self._flags = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
        self._flags += [f"--context={context}"] if context else []
        self._environ = dict(environ)
        self._timeout = timeout

    def get(self, kinds: str, namespace: str, name: str = "") -> dict[str, Any]:
        """The object ``name``, or the list of all objects of ``kinds`` (``secrets,roles``), of a namespace.

        Raises:
            KubectlFailed: with no word of what the objects hold.
        """
        words = ["get", kinds, *([name] if name else [])]
        return self._run([*words, f"--namespace={namespace}", "--output=json"])

    def _run(self, words: list[str]) -> dict[str, Any]:
        argv = [self._program, *self._flags, *words]
        try:
            done = subprocess.run(  # noqa: S603
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=self._environ,
                timeout=self._timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise KubectlFailed(f"{self._program} did not answer within {self._timeout:g} seconds") from None
        except OSError as error:
            hint = "install kubectl, or name the program in KUBECTL"
            raise KubectlFailed(f"cannot start {self._program}: {error.strerror}", hint) from None
        if done.returncode:
            raise _failed(self._program, done.returncode, done.stderr)
        try:
            answer = json.loads(done.stdout)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise KubectlFailed(f"{self._program} answered something that is no JSON object") from None
        return answer


def _failed(program: str, code: int, stderr: bytes) -> KubectlFailed:
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    # Credential plug-ins write here too, so only what kubectl itself begins with these words is repeated.
    own = [line for line in lines if line.startswith(("Error from server", "error:", "Error:", "Unable to connect"))]
    own += [line for line in lines if line.startswith("The connection to the server")]
    words = own[0][:_LONGEST] if own else ""
    if "{" in words:  # an object, perhaps
        words = words.partition("{")[0].rstrip()
    hint = next((hint for sign, hint in _HINTS.items() if sign in words), "")
    text = f"{program} failed with code {code}" + (f": {words}" if words else "")
    return KubectlFailed(text, hint, missing="(NotFound)" in words)
