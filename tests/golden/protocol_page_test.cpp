// docs/protocol.md is normative: its tables of frame types, statuses and wait reasons say exactly what the code says.
// Every enumerator is on the page with its number, and every row of the page is an enumerator.

#include <algorithm>
#include <cctype>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "common/wire/bodies.hpp"
#include "common/wire/frame.hpp"
#include "common/wire/status.hpp"

namespace baton::wire {
namespace {

using Row = std::vector<std::string>;

std::string trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(' ');
    return first == text.npos ? std::string{} : std::string{text.substr(first, text.find_last_not_of(' ') - first + 1)};
}

// The cells of the rows below the line `| first | second |...`, without the rule.
std::vector<Row> table(std::string_view head) {
    std::ifstream page{BATON_PROTOCOL_PAGE};
    std::vector<Row> rows;
    bool is_inside = false;
    for (std::string line; std::getline(page, line);) {
        if (!is_inside) {
            is_inside = line.starts_with(head);
            continue;
        }
        if (!line.starts_with('|')) {
            break;
        }
        Row cells;
        for (std::size_t at = 1, end = 0; (end = line.find('|', at)) != std::string::npos; at = end + 1) {
            cells.push_back(trimmed(std::string_view{line}.substr(at, end - at)));
        }
        if (!cells.front().starts_with('-')) {
            rows.push_back(std::move(cells));
        }
    }
    if (rows.empty()) {
        throw std::runtime_error{"docs/protocol.md has no table " + std::string{head}};
    }
    return rows;
}

TEST(ProtocolPage, FrameTypes) {
    int known = 0;
    for (int number = 0; number < 256; ++number) {
        known += is_known(static_cast<FrameType>(number)) ? 1 : 0;
    }
    const auto rows = table("| type | name | direction |");
    EXPECT_EQ(static_cast<int>(rows.size()), known);
    for (const Row& row : rows) {
        EXPECT_EQ(to_string(static_cast<FrameType>(std::stoi(row[0]))), row[1]) << "type " << row[0];
    }
}

TEST(ProtocolPage, ControlFrames) {
    std::ifstream page{BATON_PROTOCOL_PAGE};
    const std::string text{std::istreambuf_iterator<char>{page}, {}};
    const auto begin = text.find("Control: ");
    ASSERT_NE(begin, std::string::npos);
    const std::string list = text.substr(begin, text.find('.', begin) - begin);
    for (int number = 1; is_known(static_cast<FrameType>(number)); ++number) {
        const auto type = static_cast<FrameType>(number);
        std::vector<std::string> words;
        std::string word;
        for (const char character : list + " ") {
            if (std::isalpha(static_cast<unsigned char>(character)) != 0 || character == '_') {
                word += character;
            } else {
                words.push_back(std::exchange(word, {}));
            }
        }
        EXPECT_EQ(lane_of(type) == Lane::control, std::ranges::find(words, to_string(type)) != words.end())
            << to_string(type);
    }
}

TEST(ProtocolPage, Statuses) {
    const auto rows = table("| code | name | retryable |");
    for (const Row& row : rows) {
        const auto status = static_cast<Status>(std::stoul(row[0]));
        EXPECT_EQ(to_string(status), row[1]) << "status " << row[0];
        EXPECT_EQ(is_retryable(status), row[2] == "yes") << row[1];
        EXPECT_EQ(status_from_string(row[1]), status);
    }
    EXPECT_EQ(to_string(static_cast<Status>(rows.size())), "unknown") << "the page has no status " << rows.size();
}

TEST(ProtocolPage, WaitReasons) {
    const auto rows = table("| reason | name | who |");
    for (const Row& row : rows) {
        EXPECT_EQ(wait_reason_name(static_cast<std::uint16_t>(std::stoul(row[0]))), row[1]) << "reason " << row[0];
    }
    EXPECT_EQ(wait_reason_name(static_cast<std::uint16_t>(rows.size())), "unknown");
}

}  // namespace
}  // namespace baton::wire
