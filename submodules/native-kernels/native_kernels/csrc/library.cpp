// What every library says of itself, and of the processor. Compiled for any processor.
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#pragma GCC visibility push(default)  // the rest of a library is hidden
extern "C" {

// Hash of the sources this library was built from.
const char* native_sources() { return NATIVE_SOURCES; }

// What runs here: 0 only portable kernels, 1 those for AVX2 too, 2 those for AVX-512 too. Asked of
// the processor itself: the compilers' own builtin does not link into every shared library.
int native_level() {
#if defined(__x86_64__)
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return 0;
  const bool fma = ecx >> 12 & 1, saves_state = ecx >> 27 & 1;
  if (!saves_state || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  // State that the system saves: bits 1, 2 = SSE, AVX; 5, 6, 7 = AVX-512. Of ebx: bit 5 = AVX2;
  // 16, 17, 30, 31 = AVX-512 F, DQ, BW, VL.
  if (!fma || (low & 0x06) != 0x06 || !(ebx >> 5 & 1)) return 0;
  constexpr unsigned kSets = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
  return (low & 0xe6) == 0xe6 && (ebx & kSets) == kSets ? 2 : 1;
#else
  return 0;
#endif
}

}  // extern "C"
#pragma GCC visibility pop
