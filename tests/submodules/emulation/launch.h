// What the host side calls: the kernels of this library by number, their signatures as text, and a
// launch that takes the same array of parameter addresses as cuLaunchKernel.
#pragma once

#include <link.h>

#include <mutex>
#include <type_traits>
#include <utility>

#include "block_scheduler.h"

namespace emulation {

constexpr unsigned kMaxShared = 48 * 1024;
constexpr unsigned char kUninitialised = 0xff;  // as float and double a NaN, as an integer -1

struct Kernel {
  const char* name;
  std::string signature;  // one letter (pointer, integer, float, struct) and the bytes of each
  void (*body)(void** parameters);
};

template <class T>
std::string describe() {
  const char kind = std::is_pointer_v<T>          ? 'p'
                    : std::is_floating_point_v<T> ? 'f'
                    : std::is_integral_v<T>       ? 'i'
                                                  : 's';
  return kind + std::to_string(sizeof(T)) + " ";
}

template <auto kernel, class... A, size_t... I>
void call(void (*)(A...), void** parameters, std::index_sequence<I...>) {
  (void)parameters;
  kernel(*static_cast<std::remove_cv_t<A>*>(parameters[I])...);
}

template <auto kernel, class... A>
Kernel describe_kernel(const char* name, void (*)(A...)) {
  return {name, (std::string() + ... + describe<A>()), [](void** parameters) {
            call<kernel>(kernel, parameters, std::index_sequence_for<A...>());
          }};
}

// Every __shared__ array is thread_local, so this library's thread-local storage is the shared
// memory of a block: its place is known to the dynamic linker only.
struct Memory {
  unsigned char* begin = nullptr;
  size_t bytes = 0;
};
static thread_local volatile char thread_local_marker;

inline int find_shared(dl_phdr_info* info, size_t, void* found) {
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto* begin = static_cast<const volatile char*>(info->dlpi_tls_data);
    const auto& header = info->dlpi_phdr[i];
    if (header.p_type != PT_TLS || !begin) continue;
    if (&thread_local_marker < begin || &thread_local_marker >= begin + header.p_memsz) continue;
    *static_cast<Memory*>(found) = {static_cast<unsigned char*>(info->dlpi_tls_data),
                                    size_t(header.p_memsz)};
    return 1;
  }
  return 0;
}

inline Memory shared_memory() {
  thread_local_marker = 0;  // storage exists from its first use on
  Memory found;
  dl_iterate_phdr(find_shared, &found);
  return found;
}

// The array of unknown size is this long in truth, so that a write behind its end is seen.
inline void check_dynamic_end(const unsigned char* dynamic, unsigned bytes) {
  for (unsigned i = bytes; dynamic && i < kMaxShared; i++)
    if (dynamic[i] != kUninitialised && block.error.empty())
      block.error = "writes behind the end of its dynamic shared memory, at byte " +
                    std::to_string(i) + " of " + std::to_string(bytes);
}

inline const char* launch(const Kernel& kernel, dim3 grid, dim3 threads, unsigned shared,
                          const unsigned char* dynamic, bool backward, void** parameters) {
  static std::mutex one_at_a_time;
  static std::string error;
  std::lock_guard<std::mutex> lock(one_at_a_time);
  const Memory memory = shared_memory();
  if (!memory.begin) return "the library's shared memory was not found";
  block = Block{};
  free_all_stacks();
  block.body = kernel.body;
  block.parameters = parameters;
  gridDim = grid;
  blockDim = threads;
  const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
  for (uint64_t i = 0; i < blocks && block.error.empty(); i++) {
    const uint64_t number = backward ? blocks - 1 - i : i;
    blockIdx = {unsigned(number % grid.x), unsigned(number / grid.x % grid.y),
                unsigned(number / grid.x / grid.y)};
    std::memset(memory.begin, kUninitialised, memory.bytes);
    run_block(backward);
    check_dynamic_end(dynamic, shared);
  }
  if (block.error.empty()) return nullptr;
  error = std::string(kernel.name) + ", block (" + std::to_string(blockIdx.x) + ", " +
          std::to_string(blockIdx.y) + ", " + std::to_string(blockIdx.z) + "): " + block.error;
  return error.c_str();
}

}  // namespace emulation
