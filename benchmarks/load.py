"""The load generator: wrk with one thread and 32 connections, told by a Lua script what to send."""

import os
import re
import subprocess

import msgspec

from benchmarks.servers import Server
from benchmarks.vaults import folder

_SCRIPT = """
wrk.method = os.getenv("METHOD")
wrk.body = os.getenv("BODY")
wrk.headers["X-Vault-Token"] = os.getenv("TOKEN")
if wrk.body then wrk.headers["Content-Type"] = "application/json" end
local many = tonumber(os.getenv("MANY") or "0")
local step = tonumber(os.getenv("STEP") or "1")
local form = os.getenv("FORM") or ""
local n = 0
if many > 0 then
  local path = wrk.path
  request = function()
    n = (n + step) % many
    if form ~= "" then return wrk.format(nil, path .. string.format(form, math.floor(n / 1000), n % 1000)) end
    return wrk.format(nil, path .. n)
  end
end
"""


class Load(msgspec.Struct, frozen=True):
    """What came of a run."""

    rate: float  # answers a second
    count: int
    processor: float  # seconds of the server's processor time for each answer


def wrk(
    program: str,
    server: Server,
    path: str,
    seconds: float,
    *,
    method: str = "GET",
    body: str = "",
    many: int = 0,
    step: int = 1,
    form: str = "",
    token: str = "",
    connections: int = 32,
) -> Load:
    """Send as fast as answers come.

    Args:
        many: a number from 0 to many - 1 is put behind ``path``, ``step`` more each time, modulo ``many``.
        form: how it is written, for Lua's string.format of its thousands and the rest.

    Raises:
        RuntimeError: an answer was not 2xx, or the generator failed.
    """
    environ = {"PATH": os.environ.get("PATH", ""), "METHOD": method, "TOKEN": token or server.token, "MANY": str(many)}
    environ |= {"STEP": str(step), "FORM": form}
    if body:
        environ["BODY"] = body
    with folder() as place:
        script = os.path.join(place, "load.lua")
        with open(script, "w") as file:
            file.write(_SCRIPT)
        before = server.processor_time()
        command = [program, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", script]
        done = subprocess.run(
            [*command, f"{server.address}/v1/{path}"], env=environ, capture_output=True, text=True, check=False
        )
        spent = server.processor_time() - before
    out = done.stdout
    found = re.search(r"(\d+) requests in", out)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if done.returncode or found is None or rate is None or "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"the load failed: {out}{done.stderr}")
    count = int(found[1])
    return Load(float(rate[1]), count, spent / max(count, 1))
