// Elements in two lists at once.
#include "server/channel/linked_list.hpp"

#include <string>

#include <gtest/gtest.h>

namespace baton::channel::test {
namespace {

struct Element {
    char name = 0;
    Element* before = nullptr;
    Element* after = nullptr;
    Element* left = nullptr;
    Element* right = nullptr;
};

struct LinkedLists : testing::Test {
    [[nodiscard]] std::string names() const {
        std::string forward;
        for (const Element* element = list.first(); element != nullptr; element = element->after) {
            forward += element->name;
        }
        std::string backward;
        for (const Element* element = list.last(); element != nullptr; element = element->before) {
            backward.insert(backward.begin(), element->name);
        }
        EXPECT_EQ(forward, backward);
        return forward;
    }
    Element a{'a'}, b{'b'}, c{'c'};
    LinkedList<Element, &Element::before, &Element::after> list;
    LinkedList<Element, &Element::left, &Element::right> other;
};

TEST_F(LinkedLists, ElementsComeToTheEndOrInFrontOfOthersAndLeaveFromAnywhere) {
    EXPECT_EQ(names(), "");
    list.insert(b);
    list.insert(a, &b);
    list.insert(c);
    EXPECT_EQ(names(), "abc");
    list.erase(b);
    EXPECT_EQ(names(), "ac");
    list.insert(b, &a);
    EXPECT_EQ(names(), "bac");
    list.erase(b);
    list.erase(c);
    EXPECT_EQ(names(), "a");
    list.erase(a);
    EXPECT_EQ(names(), "");
    EXPECT_EQ(a.before, nullptr);
    EXPECT_EQ(a.after, nullptr);
}

TEST_F(LinkedLists, AnElementIsInSeveralOfThem) {
    list.insert(a);
    list.insert(b);
    other.insert(b);
    other.insert(a);
    list.erase(a);
    EXPECT_EQ(names(), "b");
    EXPECT_EQ(other.first(), &b);
    EXPECT_EQ(other.last(), &a);
    list.clear();
    EXPECT_EQ(names(), "");
}

}  // namespace
}  // namespace baton::channel::test
