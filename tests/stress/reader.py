"""A process that reads image files one after the other, and tells what each one cost.

It is stopped where it hangs, and the Linux kernel tells the peak of its resident memory for each file (VmHWM, set back
before each).

    echo FILE | python tests/stress/reader.py      # a line of JSON for each file
"""

import hashlib
import json
import select
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

MAX_SECONDS, MAX_BYTES = 5, 10**9
ADDRESS_SPACE = 16 * 10**9  # spares the machine; far above what is tolerated


class Reader:
    """A process that reads files one after the other; a new one where it hangs or dies."""

    def __enter__(self) -> "Reader":
        command = [sys.executable, str(Path(__file__))]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}  # decoders chatter
        self.process = subprocess.Popen(command, **pipes, text=True, bufsize=1)
        self._answer(60)  # ready
        return self

    def __exit__(self, *exception) -> None:
        self.process.kill()
        self.process.communicate()

    def read(self, file: Path) -> dict:
        """Give outcome, seconds of the slower of two readings, peak in bytes and a hash over the pixels."""
        self.process.stdin.write(f"{file}\n")
        answer = self._answer(4 * MAX_SECONDS)
        if answer is None:
            hangs = self.process.poll() is None
            self.__exit__()
            status = self.process.returncode
            self.__enter__()
            return {"outcome": f"hangs for {4 * MAX_SECONDS} s" if hangs else f"ends the process with {status}"}
        return answer

    def _answer(self, seconds: float) -> dict | None:
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        return json.loads(line) if line else None


# ---- in the process that reads


def _measured(file: str) -> dict:
    from musc_lite import ImageReadError
    from musc_lite.data.decode import read_image, read_mask

    seconds, outcome, pixels = [], "read", None
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to what is resident now
    for read in (read_image, read_mask):
        start = time.perf_counter()
        try:
            result = read(file)
            if read is read_image:
                pixels = hashlib.sha256(result.tobytes()).hexdigest() if result.width * result.height < 1e6 else "many"
            result = None
        except ImageReadError as error:
            outcome = "refused" if file in str(error) else f"refused without its name: {error}"
        except BaseException as error:  # whatever else comes out is what is looked for
            outcome = f"raises {type(error).__name__}: {error}"
        seconds.append(time.perf_counter() - start)
        if outcome not in ("read", "refused"):
            break
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    return {"outcome": outcome, "seconds": max(seconds), "peak": peak, "pixels": pixels}


def _main(files: Iterable[str]) -> None:
    import resource  # Unix only

    from musc_lite.data.decode import read_image  # noqa: F401 (loaded before anything is measured)

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("{}", flush=True)  # ready
    for file in files:
        print(json.dumps(_measured(file)), flush=True)


if __name__ == "__main__":
    _main(line.rstrip("\n") for line in sys.stdin)
