// The kernels of the GPU backend in three groups. One is compiled when first needed, for the card at
// hand, with REAL, the number type: float or double; and
//   SH_DEGREE      0 to 3, or -1 where colours are given; ANTIALIASED, 0 or 1: the kernels with a
//                  thread per Gaussian
//   CHANNELS       of one pass over the image: the forward kernels with a thread per pixel
//   CHANNELS, AUX, ABSOLUTE
//                  the backward one; AUX is 1 when the loss sees depth or alpha, ABSOLUTE when
//                  absolute gradients are wanted, else 0
#if defined(SH_DEGREE)
#include "place.cuh"
#include "project.cuh"
#include "project_backward.cuh"
#elif defined(AUX)
#include "blend_backward.cuh"
#elif defined(CHANNELS)
#include "blend.cuh"
#include "collect.cuh"
#endif
