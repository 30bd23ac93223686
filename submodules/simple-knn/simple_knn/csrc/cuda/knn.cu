// Mean squared distance from each point to its K nearest others, by comparing all pairs: exact, no
// tree to build, and every load of the inner loop is one that the whole warp shares.
//
// Defines: REAL (float or double), K (1 to 8), TILE (threads per block, points per tile).
#include <cstdint>

struct alignas(16) Point {
  REAL x, y, z, unused;
};

// Puts `value` into its place among the K smallest so far, which ascend.
__device__ void keep_smallest(REAL (&smallest)[K], REAL value) {
  if (!(value < smallest[K - 1])) return;
#pragma unroll
  for (int i = 0; i < K; i++) {
    const REAL larger = max(smallest[i], value);
    smallest[i] = min(smallest[i], value);
    value = larger;
  }
}

// points: (n, 3); means: (n). Takes the mean over the neighbours there are, min(K, n - 1) > 0.
extern "C" __global__ void __launch_bounds__(TILE)
mean_squared_distance(const REAL* __restrict__ points, REAL* __restrict__ means, int32_t n) {
  __shared__ Point tile[TILE];
  const int32_t me = int32_t(blockIdx.x) * TILE + int32_t(threadIdx.x);
  const int64_t row = 3 * int64_t(min(me, n - 1));
  const REAL x = points[row], y = points[row + 1], z = points[row + 2];
  REAL smallest[K];
#pragma unroll
  for (int i = 0; i < K; i++) smallest[i] = REAL(__int_as_float(0x7f800000));  // infinity
  for (int32_t start = 0; start < n; start += TILE) {
    const int32_t mine = start + int32_t(threadIdx.x);
    if (mine < n) {
      const REAL* p = points + 3 * int64_t(mine);
      tile[threadIdx.x] = {p[0], p[1], p[2], REAL(0)};
    }
    __syncthreads();
    const int32_t count = min(int32_t(TILE), n - start);
#pragma unroll 4
    for (int32_t j = 0; j < count; j++) {
      // Differences before squares: near points far from the origin keep their digits.
      const REAL dx = tile[j].x - x, dy = tile[j].y - y, dz = tile[j].z - z;
      if (start + j != me) keep_smallest(smallest, dx * dx + dy * dy + dz * dz);
    }
    __syncthreads();
  }
  if (me >= n) return;
  const int32_t neighbours = min(int32_t(K), n - 1);
  REAL sum = 0;
#pragma unroll
  for (int i = 0; i < K; i++)
    if (i < neighbours) sum += smallest[i];
  means[me] = sum / REAL(neighbours);
}
