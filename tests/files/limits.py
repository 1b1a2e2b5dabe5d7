"""Runs a few lines in a process of its own under a memory limit, and says what they cost."""

import json
import subprocess
import sys

GB = 1 << 30
_RUN = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
from pathlib import Path
from bagscope.errors import ImageReadError
from bagscope.files.reader import Selection, open_image, read_header, read_labels
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
def code_of(read, *arguments):
    try:
        return str(read(*arguments).shape)
    except ImageReadError as error:
        return error.problem.code
before = peak()
path = Path({path!r})
said = []
{code}
print(json.dumps({{"said": said, "bytes": peak() - before}}))
"""


def limited(code, path="", limit=3 * GB):
    """What `code` appended to `said`, and by how many bytes the process grew while it ran."""
    program = _RUN.format(code=code, path=str(path), limit=limit)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return found["said"], found["bytes"]
