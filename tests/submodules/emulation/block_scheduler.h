// Runs one block of a kernel: its threads are fibers on the calling OS thread, and each runs until
// it waits (at a barrier, in a warp operation) or returns. A block in which nobody can go on is an
// error that says who waits where.
//
// Stricter than a GPU: a thread that returned before a barrier the others wait at is an error
// (hardware lets it pass from sm_70 on), so is a value read from a lane that takes no part.
#pragma once

#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "fiber_switch.h"

struct dim3 {
  unsigned x, y, z;
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

constexpr unsigned kWarp = 32, kMaxThreads = 1024;
// Mapped, not touched: a kernel uses a few KB of it. Not a power of two, so that the tops of the
// stacks do not share their cache sets.
constexpr size_t kStackBytes = 256 * 1024 + 1088;

enum class State { kReady, kBarrier, kWarpOperation, kReturned };
enum class Operation { kNone, kSync, kOr, kAnd, kCount, kSyncWarp, kShuffle, kBallot, kAny, kAll };
constexpr const char* kNames[] = {
    "nothing",        "__syncthreads", "__syncthreads_or", "__syncthreads_and", "__syncthreads_count",
    "__syncwarp",     "__shfl_sync",   "__ballot_sync",    "__any_sync",        "__all_sync"};

// Where a thread waits and what it brings. Threads meet only at the same place in the source: that
// two places in one function are one barrier is nowhere promised.
struct Wait {
  Operation operation = Operation::kNone;
  const char* file = "";
  int line = 0;
  uint32_t mask = 0;
  uint64_t value = 0;
  unsigned source = 0;  // lane whose value a shuffle asks for

  bool meets(const Wait& other) const {
    return operation == other.operation && line == other.line && mask == other.mask &&
           (file == other.file || std::strcmp(file, other.file) == 0);
  }
};

struct Thread {
  void* stack_pointer;  // null until the thread starts
  unsigned char* stack;
  State state;
  dim3 index;
  Wait wait;
  uint64_t result;
};

struct Warp {
  uint32_t running = 0;  // lanes that exist and have not returned
  uint32_t waiting = 0;  // lanes in a warp operation
};

struct Block {
  std::vector<Thread> threads;
  Warp warps[kMaxThreads / kWarp];
  std::vector<unsigned char*> free_stacks;
  unsigned current = 0;
  unsigned running = 0;  // threads that have not returned
  unsigned at_barrier = 0;
  void* scheduler_stack = nullptr;
  std::string error;
  void (*body)(void** parameters) = nullptr;
  void** parameters = nullptr;
};
static Block block;

inline void back_to_scheduler() {
  switch_stack(&block.threads[block.current].stack_pointer, block.scheduler_stack);
}

inline std::string place(unsigned thread) {
  const Thread& t = block.threads[thread];
  const Wait& w = t.wait;
  char text[400], mask[20] = "";
  int end = std::snprintf(text, sizeof text, "thread (%u, %u, %u) ", t.index.x, t.index.y, t.index.z);
  if (t.state == State::kWarpOperation) std::snprintf(mask, sizeof mask, "mask %08x", w.mask);
  if (t.state == State::kReady || t.state == State::kReturned)
    return text + std::string(t.state == State::kReady ? "can go on" : "has returned");
  std::snprintf(text + end, sizeof text - end, "waits in %s(%s) at %s:%d", kNames[int(w.operation)],
                mask, w.file, w.line);
  return text;
}

[[noreturn]] inline void fail(const std::string& message) {
  if (block.error.empty()) block.error = message;
  for (;;) back_to_scheduler();  // the scheduler drops all fibers once an error is set
}

inline void finish_barrier() {
  const Wait& first = block.threads[block.current].wait;
  uint64_t any = 0, all = 1, count = 0;
  for (unsigned i = 0; i < block.threads.size(); i++) {
    const Thread& t = block.threads[i];
    if (t.state == State::kReturned || !t.wait.meets(first))
      fail("a barrier is not reached by all threads: " + place(i) + ", " + place(block.current));
    any |= t.wait.value;
    all &= t.wait.value;
    count += t.wait.value;
  }
  const bool wants_and = first.operation == Operation::kAnd;
  const uint64_t result = first.operation == Operation::kCount ? count : wants_and ? all : any;
  for (Thread& t : block.threads) {
    t.result = result;
    t.state = State::kReady;
  }
  block.at_barrier = 0;
}

inline uint64_t barrier(Operation operation, bool value, const char* file, int line) {
  Thread& me = block.threads[block.current];
  me.wait = {operation, file, line, 0xffffffffu, value, 0};
  me.state = State::kBarrier;
  if (++block.at_barrier == block.running) finish_barrier();
  back_to_scheduler();
  return me.result;
}

inline uint64_t warp_result(unsigned first, uint32_t lanes, const Thread& lane) {
  if (lane.wait.operation == Operation::kShuffle)
    return block.threads[first + lane.wait.source].wait.value;
  uint32_t ballot = 0;
  for (unsigned i = 0; i < kWarp; i++)
    if (lanes >> i & 1 && block.threads[first + i].wait.value) ballot |= 1u << i;
  switch (lane.wait.operation) {
    case Operation::kBallot: return ballot;
    case Operation::kAny: return ballot != 0;
    case Operation::kAll: return ballot == lanes;
    default: return 0;
  }
}

// Lets the operation that thread `waiting` waits in happen, if every lane it names has arrived.
inline void try_warp_operation(unsigned waiting) {
  Warp& warp = block.warps[waiting / kWarp];
  const unsigned first = waiting / kWarp * kWarp;
  const Wait wait = block.threads[waiting].wait;
  const uint32_t lanes = wait.mask & warp.running;
  if (lanes & ~warp.waiting) return;
  for (unsigned i = 0; i < kWarp; i++)
    if (lanes >> i & 1 && !block.threads[first + i].wait.meets(wait)) return;
  for (unsigned i = 0; i < kWarp; i++) {
    if (!(lanes >> i & 1)) continue;
    Thread& t = block.threads[first + i];
    if (wait.operation == Operation::kShuffle && !(lanes >> t.wait.source & 1))
      fail(place(first + i) + " and reads lane " + std::to_string(t.wait.source) +
           ", which takes no part");
    t.result = warp_result(first, lanes, t);
    t.state = State::kReady;
  }
  warp.waiting &= ~lanes;
}

inline uint64_t warp_operation(Wait wait) {
  Thread& me = block.threads[block.current];
  me.wait = wait;
  me.state = State::kWarpOperation;
  if (!(wait.mask >> block.current % kWarp & 1))
    fail(place(block.current) + ", which its own mask does not name");
  block.warps[block.current / kWarp].waiting |= 1u << block.current % kWarp;
  try_warp_operation(block.current);
  back_to_scheduler();
  return me.result;
}

inline void thread_main() {
  block.body(block.parameters);
  Thread& me = block.threads[block.current];
  me.state = State::kReturned;
  block.running--;
  block.warps[block.current / kWarp].running &= ~(1u << block.current % kWarp);
  // Others may have waited for this lane only.
  const unsigned first = block.current / kWarp * kWarp;
  for (unsigned i = 0; i < kWarp && block.warps[first / kWarp].waiting; i++)
    if (block.warps[first / kWarp].waiting >> i & 1) try_warp_operation(first + i);
  for (;;) back_to_scheduler();
}

inline void stuck() {
  std::string text = "no thread of the block can go on (divergent barrier or warp operation):";
  const Thread* last = nullptr;
  int kinds = 0;
  for (unsigned i = 0; i < block.threads.size() && kinds < 8; i++) {
    const Thread& t = block.threads[i];
    if (last && last->state == t.state && last->wait.meets(t.wait)) continue;
    text += (kinds++ ? "; " : " ") + place(i);
    last = &t;
  }
  block.error = text;
}

// All stacks, free again whatever an earlier launch left behind.
inline void free_all_stacks() {
  static void* memory = mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  block.free_stacks.clear();
  for (unsigned i = 0; i < kMaxThreads; i++)
    block.free_stacks.push_back(static_cast<unsigned char*>(memory) + i * kStackBytes);
}

// Continues thread `number` until it waits or returns. A returned thread's stack serves the next.
inline void run_thread(unsigned number) {
  Thread& t = block.threads[number];
  block.current = number;
  threadIdx = t.index;
  if (!t.stack_pointer) {
    t.stack = block.free_stacks.back();
    block.free_stacks.pop_back();
    t.stack_pointer = new_stack(t.stack, kStackBytes, thread_main);
  }
  switch_stack(&block.scheduler_stack, t.stack_pointer);
  if (t.state == State::kReturned) block.free_stacks.push_back(t.stack);
}

inline void start_block() {
  const unsigned n = blockDim.x * blockDim.y * blockDim.z;
  block.threads.assign(n, Thread{});
  block.running = n;
  block.at_barrier = 0;
  for (Warp& warp : block.warps) warp = {};
  for (unsigned i = 0; i < n; i++) {
    block.threads[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y,
                              i / blockDim.x / blockDim.y};
    block.warps[i / kWarp].running |= 1u << i % kWarp;
  }
}

// Runs the block at blockIdx. `backward` takes its threads from the last to the first.
inline void run_block(bool backward) {
  start_block();
  const unsigned n = block.threads.size();
  while (block.running) {
    bool went_on = false;
    for (unsigned i = 0; i < n && block.error.empty(); i++) {
      const unsigned number = backward ? n - 1 - i : i;
      if (block.threads[number].state != State::kReady) continue;
      went_on = true;
      run_thread(number);
    }
    if (!went_on) stuck();
    if (!block.error.empty()) return;
  }
}

}  // namespace emulation
