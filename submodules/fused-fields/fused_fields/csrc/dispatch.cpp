// The C functions that Python calls; they forward to the best kernels this processor can run.
#include <cstdlib>
#include <cstring>

#include "api.h"

#if defined(FF_X86)
#include <cpuid.h>
#endif

using namespace fused_fields;

namespace {

#if defined(FF_X86)
// Bits of XCR0: what the operating system saves on a context switch.
unsigned saved_state() {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

bool all_set(unsigned value, unsigned bits) { return (value & bits) == bits; }

const KernelSet* best_kernels() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !all_set(c, bit_OSXSAVE | bit_FMA | bit_AVX)) {
        return &kPortableKernels;
    }
    const unsigned saved = saved_state();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return &kPortableKernels;
    const unsigned wide = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    if (all_set(b, wide | bit_AVX2) && all_set(saved, 0xe6)) return &kAvx512Kernels;
    if (all_set(b, bit_AVX2) && all_set(saved, 0x6)) return &kAvx2Kernels;
    return &kPortableKernels;
}

const KernelSet* const kBestFirst[] = {&kAvx512Kernels, &kAvx2Kernels, &kPortableKernels};
#else
const KernelSet* best_kernels() { return &kPortableKernels; }
const KernelSet* const kBestFirst[] = {&kPortableKernels};
#endif

const KernelSet* chosen = best_kernels();

}  // namespace

#pragma GCC visibility push(default)  // the rest of the library is hidden
extern "C" {

const char* ff_variant() { return chosen->name; }

// Chooses kernels by name: 0, or 1 where this library or this processor has none of that name.
int ff_select(const char* name) {
    bool runs = false;
    for (const KernelSet* set : kBestFirst) {
        runs = runs || set == best_kernels();
        if (runs && std::strcmp(set->name, name) == 0) {
            chosen = set;
            return 0;
        }
    }
    return 1;
}

#define FF_EXPORT(SUFFIX, T)                                                                     \
    int ff_lookup_forward_##SUFFIX(const Field* field, const T* points, int64_t n, T* features,  \
                                   int threads) {                                                \
        return chosen->SUFFIX.lookup_forward(field, points, n, features, threads);               \
    }                                                                                            \
    int ff_lookup_backward_##SUFFIX(const Field* field, const T* points, int64_t n,              \
                                    const T* grad_features, T* grad_points, int threads) {       \
        return chosen->SUFFIX.lookup_backward(field, points, n, grad_features, grad_points,      \
                                              threads);                                          \
    }                                                                                            \
    int ff_penalties_forward_##SUFFIX(const PenaltyPlane* planes, int32_t count,                 \
                                      int32_t channels, T* terms, int threads) {                 \
        return chosen->SUFFIX.penalties_forward(planes, count, channels, terms, threads);        \
    }                                                                                            \
    int ff_penalties_backward_##SUFFIX(const PenaltyPlane* planes, int32_t count,                \
                                       int32_t channels, const T* grad_terms, int threads) {     \
        return chosen->SUFFIX.penalties_backward(planes, count, channels, grad_terms, threads);  \
    }                                                                                            \
    int ff_ssim_forward_##SUFFIX(const SsimShape* shape, const T* a, const T* b, T* mean,        \
                                 T* partials, int threads) {                                     \
        return chosen->SUFFIX.ssim_forward(shape, a, b, mean, partials, threads);                \
    }                                                                                            \
    int ff_ssim_backward_##SUFFIX(const SsimShape* shape, const T* a, const T* b,                \
                                  const T* partials, T scale, T* grad_a, T* grad_b,              \
                                  int threads) {                                                 \
        return chosen->SUFFIX.ssim_backward(shape, a, b, partials, scale, grad_a, grad_b,        \
                                            threads);                                            \
    }                                                                                            \
    int ff_mlp_forward_##SUFFIX(const OffsetMlp* mlp, const T* features, int64_t n,              \
                                T* const* outputs, int threads) {                                \
        return chosen->SUFFIX.mlp_forward(mlp, features, n, outputs, threads);                   \
    }                                                                                            \
    int ff_mlp_backward_##SUFFIX(const OffsetMlp* mlp, const T* features, int64_t n,             \
                                 const T* const* grad_outputs, T* grad_features, int threads) {  \
        return chosen->SUFFIX.mlp_backward(mlp, features, n, grad_outputs, grad_features,        \
                                           threads);                                             \
    }                                                                                            \
    int ff_adam_step_##SUFFIX(const AdamStep* step, const uint8_t* rows, int threads) {          \
        return chosen->SUFFIX.adam_step(step, rows, threads);                                    \
    }

FF_EXPORT(f32, float)
FF_EXPORT(f64, double)

}  // extern "C"
#pragma GCC visibility pop
