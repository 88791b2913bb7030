// Runs work on threads.
#pragma once
#include <algorithm>
#include <cstdint>
#include <new>
#include <thread>
#include <vector>

// Runs work(thread) on every thread; an exception (out of memory) ends the whole call.
template <class Work> int on_threads(int threads, Work work) {
    std::vector<char> failed(size_t(threads), 0);
    auto guarded = [&](int thread) {
        try {
            work(thread);
        } catch (...) {
            failed[size_t(thread)] = 1;
        }
    };
    std::vector<std::thread> others;
    int started = 1;
    for (; started < threads; ++started) {
        try {
            others.emplace_back(guarded, started);
        } catch (...) {
            break;
        }
    }
    // What could not be started is done here: slower, but the same result.
    for (int thread = started; thread < threads; ++thread) guarded(thread);
    guarded(0);
    for (std::thread& other : others) other.join();
    return std::find(failed.begin(), failed.end(), 1) == failed.end() ? 0 : -1;
}

// A function's work with its status: -1 when memory ran out.
template <class Work> int status_of(Work work) {
    try {
        return work();
    } catch (const std::bad_alloc&) {
        return -1;
    }
}
