// What a verb says to words that it must refuse before it needs a broker.
#pragma once

#include <initializer_list>
#include <vector>

#include <gtest/gtest.h>

#include "client/cli/command_line.hpp"

namespace baton::cli {

// Exit code of the parser or, if it accepts the words, of the verb.
inline int refusal_of(std::initializer_list<const char*> words) {
    Program program;
    define(program);
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    const auto exit_code = parse(program, std::vector<const char*>{words});
    testing::internal::GetCapturedStdout();
    testing::internal::GetCapturedStderr();
    if (exit_code) {
        return *exit_code;
    }
    try {
        return program.run();
    } catch (const Failure& failure) {
        return failure.exit_code();
    }
}

}  // namespace baton::cli
