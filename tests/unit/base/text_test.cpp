// Text forms of bytes: hexadecimal, base64, UTF-8, channel names.
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "common/base/base64.hpp"
#include "common/base/hex.hpp"
#include "common/base/prng.hpp"
#include "common/base/text_form.hpp"
#include "common/base/utf8.hpp"

namespace baton {
namespace {

using std::string_literals::operator""s;

std::string random_bytes(Prng& prng) {
    std::string bytes(prng.below(40), '\0');
    for (char& byte : bytes) {
        byte = static_cast<char>(prng.below(256));
    }
    return bytes;
}

TEST(hex, both_ways) {
    EXPECT_EQ(hex_encode(as_bytes("\x00\x7f\xff"s)), "007fff");
    EXPECT_EQ(as_text(hex_decode(" 00 7F\n\tfF ").value()), "\x00\x7f\xff"s);
    EXPECT_TRUE(hex_decode("").value().empty());
    for (const char* text : {"0", "0g", "g0", "0 0", "00 0", "0x00"}) {
        EXPECT_FALSE(hex_decode(text)) << text;
    }
}

TEST(base64, vectors_of_rfc_4648) {
    const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                           {"f", "Zg=="},
                                                           {"fo", "Zm8="},
                                                           {"foo", "Zm9v"},
                                                           {"foob", "Zm9vYg=="},
                                                           {"fooba", "Zm9vYmE="},
                                                           {"foobar", "Zm9vYmFy"},
                                                           {"\xff\xfe\xfb", "//77"}};
    for (const auto& [plain, encoded] : vectors) {
        EXPECT_EQ(base64_encode(as_bytes(plain)), encoded);
        EXPECT_EQ(as_text(base64_decode(encoded).value()), plain);
    }
}

TEST(base64, one_text_for_each_value) {
    // Wrong length, wrong letters, padding in the middle, unused bits that are not zero.
    for (const char* text : {"Z", "Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9-", "Zh==", "Zm9=", "Zg==\n"}) {
        EXPECT_FALSE(base64_decode(text)) << text;
    }
    Prng prng{2};
    for (int i = 0; i < 500; ++i) {
        const std::string bytes = random_bytes(prng);
        ASSERT_EQ(as_text(base64_decode(base64_encode(as_bytes(bytes))).value()), bytes);
    }
}

TEST(utf8, valid_and_invalid_sequences) {
    for (const std::string& text :
         {""s, "a"s, "12345678"s, "\0"s, "\xc2\x80"s, "\xdf\xbf"s, "\xe0\xa0\x80"s, "\xed\x9f\xbf"s, "\xee\x80\x80"s,
          "\xef\xbf\xbf"s, "\xf0\x90\x80\x80"s, "\xf4\x8f\xbf\xbf"s,
          "1234567\xc3\xa4"
          "89"s}) {
        EXPECT_TRUE(is_valid_utf8(as_bytes(text))) << hex_encode(as_bytes(text));
    }
    for (const std::string& text : {"\x80"s,
                                    "\xbf"s,
                                    "\xc0\x80"s,
                                    "\xc1\xbf"s,
                                    "\xc2"s,
                                    "\xc2\x7f"s,
                                    "\xc2\xc0"s,
                                    "\xe0\x9f\xbf"s,
                                    "\xe0\xa0"s,
                                    "\xe1\x80\x7f"s,
                                    "\xed\xa0\x80"s,
                                    "\xed\xbf\xbf"s,
                                    "\xf0\x8f\xbf\xbf"s,
                                    "\xf0\x90\x80"s,
                                    "\xf4\x90\x80\x80"s,
                                    "\xf5\x80\x80\x80"s,
                                    "\xff"s,
                                    "12345678\x80"s,
                                    "1234567\xc3"s,
                                    "\xf1\x80\x80\xc0"s}) {
        EXPECT_FALSE(is_valid_utf8(as_bytes(text))) << hex_encode(as_bytes(text));
    }
    EXPECT_EQ(utf8_sequence_size(as_bytes("\xf0\x90\x80\x80zz"s)), 4U);
    EXPECT_EQ(utf8_sequence_size({}), 0U);
}

TEST(text_form, printable_text_stands_for_itself) {
    EXPECT_EQ(name_text(as_bytes("orders/eu west")), "orders/eu west");
    EXPECT_EQ(name_text(as_bytes("gr\xc3\xbc\xc3\x9f"
                                 "e")),
              "gr\xc3\xbc\xc3\x9f"
              "e");
    EXPECT_EQ(name_text(as_bytes("\xf0\x9f\x90\xb0")), "\xf0\x9f\x90\xb0");
}

TEST(text_form, everything_else_is_escaped) {
    EXPECT_EQ(name_text(as_bytes("100%")), "100%25");
    EXPECT_EQ(name_text(as_bytes("a\0b\n\x7f"s)), "a%00b%0A%7F");
    EXPECT_EQ(name_text(as_bytes("\xff\xc3")), "%FF%C3");
    EXPECT_EQ(name_text(as_bytes("\xc2\x9b")), "%C2%9B");  // A control character beyond ASCII.
    EXPECT_EQ(name_text(as_bytes("\xe2\x80\xae"
                                 "x")),
              "%E2%80%AEx");  // Right-to-left override.
}

TEST(text_form, names_come_back) {
    EXPECT_EQ(name_from_text("a%00b%0a").value(), "a\0b\n"s);
    for (const char* text : {"%", "%0", "a%", "%0g", "% 0", "%0 ", "%  "}) {
        EXPECT_FALSE(name_from_text(text)) << text;
    }
    Prng prng{3};
    for (int i = 0; i < 2000; ++i) {
        const std::string name = random_bytes(prng);
        const std::string text = name_text(as_bytes(name));
        ASSERT_TRUE(is_valid_utf8(as_bytes(text)));
        ASSERT_EQ(text.find_first_of("\n\r\t\0"s), std::string::npos);
        ASSERT_EQ(name_from_text(text).value(), name);
    }
}

}  // namespace
}  // namespace baton
