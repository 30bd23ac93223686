// All kernels of the GPU backend. Compiled when first needed, for the card at hand, with
//   REAL       float or double
// and one of
//   SH_DEGREE  0 to 3, or -1 where colours are given: the kernels with one thread per Gaussian
//   CHANNELS   of one pass over the image: the kernels with one thread per pixel; and with it
//   AUX        1 when the loss sees depth or alpha (read by the backward pass alone)
#ifdef SH_DEGREE
#include "place.cuh"
#include "project.cuh"
#include "project_backward.cuh"
#endif
#ifdef CHANNELS
#include "blend.cuh"
#include "blend_backward.cuh"
#include "collect.cuh"
#endif
