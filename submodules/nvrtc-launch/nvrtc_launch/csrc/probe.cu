// The kernel of one line with which why_not() finds out whether kernels run at all.
#include <cstdint>

extern "C" __global__ void answer(int32_t* out, int32_t number) {
  if (threadIdx.x == 0) out[0] = number;
}
