// Which of the libraries this processor, and this operating system, can run.
//
// Bits: 1 AVX2 with FMA, 2 AVX-512 (F, BW, DQ, VL), 4 AMX with bfloat16, 8 AVX-512 with
// bfloat16. Asking also asks Linux for the permission to use AMX's registers.
#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>

// Whether leaf 7 of cpuid, `part` of it, has these bits in register EAX (0) to EDX (3).
static bool answers(unsigned part, int in_register, unsigned bits) {
    unsigned r[4] = {};
    return __get_cpuid_count(7, part, &r[0], &r[1], &r[2], &r[3]) && (r[in_register] & bits) == bits;
}

static bool has_bfloat16() { return answers(1, 0, 1u << 5); } // AVX512-BF16

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

static bool has_amx() {
    constexpr long request_permission = 0x1023, tile_data = 18;
    return answers(0, 3, 1u << 24 | 1u << 22) && // AMX-TILE, AMX-BF16
           syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}
#else
static bool has_amx() { return false; }
#endif
#endif

extern "C" int32_t processor_features() {
    int32_t features = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) features |= 1;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        features |= 2;
        if (has_bfloat16()) features |= has_amx() ? 12 : 8;
    }
#endif
    return features;
}
