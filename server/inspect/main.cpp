// baton-inspect: looks at the files of a broker that does not run. The verbs are in verbs.hpp.
#include "common/base/standard_streams.hpp"
#include "server/inspect/command_line.hpp"

int main(int argc, char** argv) {
    baton::hold_standard_streams();
    return baton::inspect::run(argc, argv);
}
