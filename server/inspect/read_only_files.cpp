#include "server/inspect/read_only_files.hpp"

#include "server/storage/errc.hpp"

namespace baton::inspect {

namespace {

std::unexpected<Error> refused(std::string_view path) {
    return fail(storage::Errc::not_permitted, std::string{path} + ": baton-inspect changes nothing");
}

}  // namespace

class ReadOnlyFiles::OpenFile final : public storage::File {
public:
    OpenFile(std::unique_ptr<storage::File> file, const ReadOnlyFiles& view) : file_{std::move(file)}, view_{view} {}

    Result<std::size_t> read(std::uint64_t position, MutableBytes out) override {
        auto count = file_->read(position, out);
        if (count && view_.on_read_) {
            view_.on_read_(*count);
        }
        return count;
    }
    Result<std::uint64_t> size() override { return file_->size(); }
    Result<void> write(std::uint64_t, std::span<const Bytes>) override { return refused("write"); }
    Result<void> sync() override { return refused("sync"); }
    Result<void> allocate(std::uint64_t) override { return refused("allocate"); }
    Result<void> truncate(std::uint64_t) override { return refused("truncate"); }

private:
    const std::unique_ptr<storage::File> file_;
    const ReadOnlyFiles& view_;
};

std::string ReadOnlyFiles::real(std::string_view path) const {
    const auto& [from, to] = redirection_;
    if (!from.empty() && path.starts_with(from) && (path.size() == from.size() || path[from.size()] == '/')) {
        return to + std::string{path.substr(from.size())};
    }
    return std::string{path};
}

Result<std::unique_ptr<storage::File>> ReadOnlyFiles::open(std::string_view path, storage::OpenMode mode) {
    if (mode != storage::OpenMode::read) {
        return refused(path);
    }
    auto file = files_.open(real(path), mode);
    if (!file) {
        return fail(file.error());
    }
    return std::make_unique<OpenFile>(std::move(*file), *this);
}

Result<std::vector<std::string>> ReadOnlyFiles::list(std::string_view path) {
    return files_.list(real(path));
}

Result<void> ReadOnlyFiles::rename(std::string_view from, std::string_view) {
    return refused(from);
}
Result<void> ReadOnlyFiles::link(std::string_view, std::string_view to) {
    return refused(to);
}
Result<void> ReadOnlyFiles::remove(std::string_view path) {
    return refused(path);
}
Result<void> ReadOnlyFiles::make_directory(std::string_view path) {
    return refused(path);
}
Result<void> ReadOnlyFiles::sync_directory(std::string_view path) {
    return refused(path);
}
Result<std::unique_ptr<storage::FileLock>> ReadOnlyFiles::lock(std::string_view path, std::string_view) {
    return refused(path);
}

}  // namespace baton::inspect
