import pytest
from native_kernels import Library, find_compiler
from native_kernels.compiler import compile_libraries, variants_here

KERNELS = """
#include "team.h"
#include "vectors.h"
#pragma GCC visibility push(default)
extern "C" {
int vector_bytes() { return kVectorBytes; }

// Threads that ran, with `threads` asked for; each writes its rank + 1 and takes tasks twice over.
int run_team(int threads, int tasks, int* ranks, int* done) {
  Tasks first(tasks);
  SharedTasks second(tasks, threads > 1 ? threads : 1);
  int size = 0;
  Team::run(threads, [&](Team& team, int rank) {
    ranks[rank] = rank + 1;
    if (rank == 0) size = team.size();
    int64_t task;
    while (first.take(task)) ++done[task];
    team.meet();
    while (second.take(rank, task)) done[task] = done[task] == 1 ? 2 : -1;
  });
  return size;
}
}
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A package of one file of kernels, built for every variant."""
    if (compiler := find_compiler()) is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("packages") / "tiny_package"
    (folder / "csrc").mkdir(parents=True)
    (folder / "csrc" / "kernels.cpp").write_text(KERNELS)
    targets = {name: folder / f"_{name}.so" for name in variants_here()}
    compile_libraries(compiler, folder / "csrc", targets)
    return folder


@pytest.fixture
def library(built):
    return Library(built, lambda loaded: None)
