// baton-inspect: looks at the files of a broker that does not run. The verbs are in verbs.hpp.
#include "server/inspect/command_line.hpp"

int main(int argc, char** argv) {
    return baton::inspect::run(argc, argv);
}
