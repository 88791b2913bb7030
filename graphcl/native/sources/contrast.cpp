// Built once per instruction set, each time into a library of its own: code that two
// builds share by name (templates of the standard library among it) must not be merged
// by the linker, or an old processor would run the newest instructions.
#include "pass.h"

#ifndef VECTOR_BYTES
#error "VECTOR_BYTES is the width of a vector register: 16, 32 or 64"
#endif

template <class Real> using Passes = Pass<Real, VECTOR_BYTES / int(sizeof(Real))>;

int contrast_forward_float(const Contrast* c, float* rows, float* columns) {
    return status_of([&] { return Passes<float>(*c).forward(rows, columns); });
}

int contrast_forward_double(const Contrast* c, double* rows, double* columns) {
    return status_of([&] { return Passes<double>(*c).forward(rows, columns); });
}

int contrast_backward_float(const Contrast* c, const ContrastGradient* g) {
    return status_of([&] { return Passes<float>(*c).backward(*g); });
}

int contrast_backward_double(const Contrast* c, const ContrastGradient* g) {
    return status_of([&] { return Passes<double>(*c).backward(*g); });
}
