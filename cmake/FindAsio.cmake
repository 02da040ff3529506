# Finds the stand-alone Asio headers (Debian's libasio-dev ships no CMake package) and defines asio::asio.
#
# Every macro that changes Asio's meaning is on that target: a unit that includes Asio without them, or with others,
# makes the program ill-formed. Link baton::asio rather than asio::asio: it adds the compiled half.
#
#   ASIO_HAS_CO_AWAIT=1   clang with libstdc++ is not recognised as having coroutines by Asio 1.22.
#   ASIO_HAS_STD_ALIGNED_ALLOC   without it Asio asks a macro of libstdc++ that is there only if a standard header came
#                         before: one unit would take memory with aligned_alloc and another give it to operator delete.
#   ASIO_RECYCLING_...    operations of one thread reuse up to eight memory blocks instead of two.

find_path(Asio_INCLUDE_DIR NAMES asio/version.hpp)
mark_as_advanced(Asio_INCLUDE_DIR)

if(Asio_INCLUDE_DIR)
  file(STRINGS "${Asio_INCLUDE_DIR}/asio/version.hpp" asio_version_line REGEX "#define ASIO_VERSION [0-9]+")
  string(REGEX MATCH "[0-9]+" asio_version_number "${asio_version_line}")
  if(asio_version_number)
    math(EXPR asio_major "${asio_version_number} / 100000")
    math(EXPR asio_minor "${asio_version_number} / 100 % 1000")
    math(EXPR asio_patch "${asio_version_number} % 100")
    set(Asio_VERSION "${asio_major}.${asio_minor}.${asio_patch}")
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Asio REQUIRED_VARS Asio_INCLUDE_DIR VERSION_VAR Asio_VERSION)

if(Asio_FOUND AND NOT TARGET asio::asio)
  find_package(Threads REQUIRED)
  add_library(asio::asio INTERFACE IMPORTED)
  target_include_directories(asio::asio INTERFACE "${Asio_INCLUDE_DIR}")
  target_compile_definitions(asio::asio INTERFACE
    ASIO_STANDALONE
    ASIO_SEPARATE_COMPILATION
    ASIO_NO_DEPRECATED
    ASIO_HAS_CO_AWAIT=1
    ASIO_HAS_STD_ALIGNED_ALLOC=1
    ASIO_RECYCLING_ALLOCATOR_CACHE_SIZE=8)
  target_link_libraries(asio::asio INTERFACE Threads::Threads)
endif()
