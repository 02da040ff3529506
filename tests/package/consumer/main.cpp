// A user's program, built outside of the source tree against the installed package. Without an argument it only shows
// that everything compiles, links and starts; with a URL it sends one message.

#include <baton/client.hpp>

int main(int argc, char** argv) {
    if (argc > 1) {
        baton::Client broker{argv[1]};
        broker.channel("greetings").send("Hello");
    }
    return 0;
}
