// Assertions for bugs: always on, in every build type. A failed assertion prints where and what, and aborts.
// Not for bad input, failing disks or rude peers: those are values (see result.hpp).
// Any thread. Next file: result.hpp.
#pragma once

namespace baton::detail {

[[noreturn]] void assertion_failed(const char* file, int line, const char* expression, const char* text) noexcept;

}  // namespace baton::detail

// The condition is evaluated exactly once, in every build.
#define BATON_ASSERT(condition)                        \
    (__builtin_expect(static_cast<bool>(condition), 1) \
         ? static_cast<void>(0)                        \
         : ::baton::detail::assertion_failed(__FILE__, __LINE__, #condition, nullptr))

// `text` is a string literal that says what the reader of a crash report needs to know.
#define BATON_ASSERT_MSG(condition, text)              \
    (__builtin_expect(static_cast<bool>(condition), 1) \
         ? static_cast<void>(0)                        \
         : ::baton::detail::assertion_failed(__FILE__, __LINE__, #condition, text))

// Marks code that cannot be reached, for instance after a switch that returns for every enumerator.
#define BATON_UNREACHABLE() ::baton::detail::assertion_failed(__FILE__, __LINE__, "unreachable", nullptr)
