"""Programs that tests run in processes of their own."""

import subprocess
import sys
from collections.abc import Sequence

COUNT = """
import sys
from strongroom.errors import Conflict
from strongroom.sdk.storage import Write
from strongroom.storage.completion import drive
import importlib
kind, path, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = importlib.import_module('strongroom.storage.' + kind).open_store({'path': path, 'sync': False})
print('ready', flush=True)
sys.stdin.readline()
for _ in range(times):
    while True:
        entry = drive(store.get('n'))
        now, revision = (int(entry.value), entry.revision) if entry else (0, 0)
        try:
            drive(store.commit([Write('n', b'%d' % (now + 1))], expect={'n': revision}))
            break
        except Conflict:
            pass
drive(store.close())
"""

FILL = """
import sys
from strongroom.sdk.storage import Write
from strongroom.storage.completion import drive
from strongroom.storage.lmdb import open_store
store = open_store({'path': sys.argv[1], 'map_size': 1 << 16})
for i in range(40):
    drive(store.commit([Write('fill/%d' % i, bytes(100000))]))
drive(store.close())
"""


def start(program: str, *argv: str, held: Sequence[int] = ()) -> "subprocess.Popen[str]":
    """Start ``program`` with its arguments and the descriptors in ``held``, under the same numbers."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=held,
    )


def together(processes: Sequence["subprocess.Popen[str]"]) -> None:
    """Let programs that said they are ready begin at once, and wait for their good end."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
