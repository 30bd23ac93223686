"""Run a command that also knows the methods of tests/more_methods:
`python tests/with_more_methods.py train.py ...`"""

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MORE = ROOT / "tests" / "more_methods"


def know_more_methods() -> None:
    """`--method` finds the files of tests/more_methods beside those of scene/methods."""
    import scene.methods

    if str(MORE) not in scene.methods.__path__:
        scene.methods.__path__.append(str(MORE))


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    sys.argv = sys.argv[1:]
    import utils.threads  # noqa: F401  (before torch, as in the commands)

    know_more_methods()
    runpy.run_path(str(ROOT / sys.argv[0]), run_name="__main__")
