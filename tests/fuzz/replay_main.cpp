// The main of a fuzz target in builds without libFuzzer: feeds every file of the given folders to the target once, and
// every prefix of the small ones. So the corpus is a test in each build, also under gcc and the other sanitizers.
// It looks for nothing new: that is libFuzzer's work (preset "fuzz", ./run fuzz).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t every_prefix_size_max = 256;

std::vector<std::uint8_t> read_file(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
}

// A copy of its own for each run, exactly as long as the input: a sanitizer sees a read beyond the end.
void run(const std::vector<std::uint8_t>& input, std::size_t size) {
    const std::vector<std::uint8_t> exact(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(size));
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::filesystem::path> files;
    for (int i = 1; i < argc; ++i) {
        if (!std::filesystem::exists(argv[i])) {
            std::fprintf(stderr, "there is no corpus at %s\n", argv[i]);
            return 1;
        }
        for (const auto& entry : std::filesystem::recursive_directory_iterator{argv[i]}) {
            if (entry.is_regular_file()) {
                files.push_back(entry.path());
            }
        }
    }
    std::sort(files.begin(), files.end());

    run({}, 0);
    for (const auto& path : files) {
        // Before the run, so that the last line names the file of a crash.
        std::fprintf(stderr, "%s\n", path.c_str());
        const auto input = read_file(path);
        if (input.size() <= every_prefix_size_max) {
            for (std::size_t size = 0; size < input.size(); ++size) {
                run(input, size);
            }
        }
        run(input, input.size());
    }
    std::fprintf(stderr, "%zu inputs\n", files.size());
    return files.empty() ? 1 : 0;
}
