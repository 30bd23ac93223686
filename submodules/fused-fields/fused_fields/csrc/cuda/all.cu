// All kernels of the package. What the defines speak of decides which of them are compiled, so that
// no call waits for kernels it has no use for:
//   REAL, CHANNELS, VECTOR, LANES, PLANES, AXES: the plane lookup
//   REAL, CHANNELS, VECTOR:                      the plane penalties
//   REAL:                                        all others
// REAL is float or double, VECTOR how many numbers one load takes. Sums have one order, fixed by the
// shapes and the data, and there are no floating-point atomics: same inputs, same bits.
#if defined(PLANES)
#include "plane_lookup.cuh"
#include "plane_lookup_grad.cuh"
#elif defined(CHANNELS)
#include "plane_penalties.cuh"
#else
#include "activate.cuh"
#include "adam.cuh"
#include "carry.cuh"
#include "mean_error.cuh"
#include "mix_bases.cuh"
#include "skinning.cuh"
#include "ssim.cuh"
#include "turned_copies.cuh"
#endif
