// VECTOR neighbouring channels, read and written as one.
#pragma once
#include <cstdint>

struct alignas(VECTOR * sizeof(REAL)) Pack {
    REAL value[VECTOR];
};

__device__ inline Pack filled(REAL x) {
    Pack pack;
#pragma unroll
    for (int k = 0; k < VECTOR; ++k) pack.value[k] = x;
    return pack;
}

__device__ inline Pack load(const REAL* from) { return *reinterpret_cast<const Pack*>(from); }

__device__ inline void store(REAL* to, Pack pack) { *reinterpret_cast<Pack*>(to) = pack; }

__device__ inline Pack operator+(Pack a, Pack b) {
#pragma unroll
    for (int k = 0; k < VECTOR; ++k) a.value[k] += b.value[k];
    return a;
}

__device__ inline Pack operator-(Pack a, Pack b) {
#pragma unroll
    for (int k = 0; k < VECTOR; ++k) a.value[k] -= b.value[k];
    return a;
}

__device__ inline Pack operator*(Pack a, Pack b) {
#pragma unroll
    for (int k = 0; k < VECTOR; ++k) a.value[k] *= b.value[k];
    return a;
}

__device__ inline Pack operator*(REAL scale, Pack a) {
#pragma unroll
    for (int k = 0; k < VECTOR; ++k) a.value[k] *= scale;
    return a;
}

__device__ inline REAL sum_of(Pack a) {
    REAL sum = a.value[0];
#pragma unroll
    for (int k = 1; k < VECTOR; ++k) sum += a.value[k];
    return sum;
}
