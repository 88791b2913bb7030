// Which of the libraries this processor, and this operating system, can run.
//
// Bits: 1 AVX2 with FMA, 2 AVX-512 (F, BW, DQ, VL), 4 AMX with bfloat16. Asking for
// the AMX bit also asks Linux for the permission to use its registers.
#include <cstdint>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool tiles_permitted() {
    constexpr long request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

static bool has_amx() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    bool tiles = (d >> 24 & 1) && (d >> 22 & 1); // AMX-TILE, AMX-BF16
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d)) return false;
    bool conversion = a >> 5 & 1; // AVX512-BF16
    return tiles && conversion && tiles_permitted();
}
#else
static bool has_amx() { return false; }
#endif

extern "C" int32_t processor_features() {
    int32_t features = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) features |= 1;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        features |= 2;
        if (has_amx()) features |= 4;
    }
#endif
    return features;
}
