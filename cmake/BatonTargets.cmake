# The functions with which every folder describes its targets, and the compile options they share.
#
#   baton_library(NAME base SOURCES a.cpp [HEADERS a.hpp ...] [DEPS baton::x ...] [PRIVATE_DEPS ...]
#                 [INCLUDE_ROOT include] [COROUTINES [b.cpp ...]] [INSTALL])
#   baton_executable(NAME batond SOURCES main.cpp [DEPS ...] [COROUTINES [...]] [INSTALL])
#   baton_test(NAME unit_base SOURCES ... [DEPS ...] [LABELS unit] [TIMEOUT seconds] [ENV A=B ...] [COROUTINES [...]])
#   baton_fuzz_target(NAME frame SOURCES frame.cpp [DEPS ...])       -> fuzz_frame, corpus in corpus/frame
#   baton_benchmark(NAME codec SOURCES ... [DEPS ...])               -> bench_codec
#
# Nothing is set globally: flags are on two INTERFACE targets that every Baton target links privately.

include_guard(GLOBAL)

# --- Shared options -----------------------------------------------------------------------------------------------

# What changes the generated code: sanitizers, coverage, fuzzing. The same for our code and for Asio's compiled half.
add_library(baton_instrumentation INTERFACE)
set(baton_instrumented FALSE)
if(BATON_SANITIZE)
  set(baton_instrumented TRUE)
  target_compile_options(baton_instrumentation INTERFACE
    -fsanitize=${BATON_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1)
  target_link_options(baton_instrumentation INTERFACE -fsanitize=${BATON_SANITIZE})
endif()
if(BATON_COVERAGE)
  target_compile_options(baton_instrumentation INTERFACE --coverage -O0)
  target_link_options(baton_instrumentation INTERFACE --coverage)
endif()
if(BATON_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "BATON_FUZZ needs clang: use the preset 'fuzz'.")
  endif()
  target_compile_options(baton_instrumentation INTERFACE -fsanitize=fuzzer-no-link)
endif()

# What makes the compiler strict.
add_library(baton_options INTERFACE)
target_link_libraries(baton_options INTERFACE baton_instrumentation)
target_compile_options(baton_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor
  $<$<BOOL:${BATON_WERROR}>:-Werror>)
if(BATON_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # A class of a source may have members of that source's unnamed types; gcc takes an included source for a header.
  target_compile_options(baton_options INTERFACE -Wno-subobject-linkage)
endif()
if(BATON_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # The instrumentation itself makes gcc see uses of uninitialised variables.
  target_compile_options(baton_options INTERFACE -Wno-maybe-uninitialized)
endif()

# --- Pieces used by the functions below ---------------------------------------------------------------------------

function(baton_common_settings target)
  target_compile_features(${target} PUBLIC cxx_std_23)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF CXX_STANDARD_REQUIRED ON)
  if(BATON_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  endif()
endfunction()

# gcc warns falsely about uninitialised variables in coroutines. Without files: the whole target consists of them.
function(baton_coroutine_warnings target is_given)
  if(NOT is_given OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
  endif()
  if(ARGN)
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS -Wno-maybe-uninitialized)
  else()
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
  endif()
endfunction()

# With BATON_GROWING: leaves out sources that are listed but not written yet, and libraries that do not exist yet.
macro(baton_leave_out_missing prefix)
  if(BATON_GROWING)
    foreach(source IN LISTS ${prefix}_SOURCES)
      if(NOT IS_ABSOLUTE "${source}" AND NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${source}")
        message(STATUS "left out, not there yet: ${CMAKE_CURRENT_SOURCE_DIR}/${source}")
        list(REMOVE_ITEM ${prefix}_SOURCES "${source}")
        list(REMOVE_ITEM ${prefix}_COROUTINES "${source}")
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}")
      endif()
    endforeach()
    list(TRANSFORM ${prefix}_DEPS REPLACE "^(baton::[a-z_]+)$" "$<TARGET_NAME_IF_EXISTS:\\1>")
    list(TRANSFORM ${prefix}_PRIVATE_DEPS REPLACE "^(baton::[a-z_]+)$" "$<TARGET_NAME_IF_EXISTS:\\1>")
    if(NOT ${prefix}_SOURCES)
      return()
    endif()
  endif()
endmacro()

# Sets <prefix>_COROUTINES_GIVEN when the keyword was written, with or without files after it.
macro(baton_parse prefix options one_value multi_value)
  cmake_parse_arguments(${prefix} "${options}" "${one_value}" "${multi_value};COROUTINES" ${ARGN})
  if(${prefix}_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "Unknown arguments: ${${prefix}_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT ${prefix}_NAME)
    message(FATAL_ERROR "NAME is missing")
  endif()
  if(${prefix}_COROUTINES OR "COROUTINES" IN_LIST ${prefix}_KEYWORDS_MISSING_VALUES)
    set(${prefix}_COROUTINES_GIVEN TRUE)
  else()
    set(${prefix}_COROUTINES_GIVEN FALSE)
  endif()
endmacro()

# --- Libraries and programs ---------------------------------------------------------------------------------------

# Target baton_<NAME>, alias baton::<NAME>. Includes are written from the repository root; a library with public
# headers of its own gives their root with INCLUDE_ROOT. HEADERS defaults to every header in the folder (or under
# INCLUDE_ROOT) and matters for installation only. Without sources it is an INTERFACE library.
function(baton_library)
  baton_parse(arg "INSTALL;NO_WARNINGS" "NAME;INCLUDE_ROOT" "SOURCES;HEADERS;DEPS;PRIVATE_DEPS" ${ARGN})
  baton_leave_out_missing(arg)
  set(target baton_${arg_NAME})

  set(include_root "${PROJECT_SOURCE_DIR}")
  if(arg_INCLUDE_ROOT)
    set(include_root "${CMAKE_CURRENT_SOURCE_DIR}/${arg_INCLUDE_ROOT}")
  endif()
  if(NOT arg_HEADERS AND arg_INCLUDE_ROOT)
    file(GLOB_RECURSE arg_HEADERS CONFIGURE_DEPENDS "${include_root}/*.hpp")
  elseif(NOT arg_HEADERS AND NOT CMAKE_CURRENT_SOURCE_DIR STREQUAL PROJECT_SOURCE_DIR)
    file(GLOB arg_HEADERS CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.hpp")
  endif()

  if(arg_SOURCES)
    add_library(${target} STATIC ${arg_SOURCES})
    baton_common_settings(${target})
    set(visibility PUBLIC)
    if(arg_NO_WARNINGS)
      target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:baton_instrumentation>)
    else()
      target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:baton_options>)
    endif()
    target_link_libraries(${target} PUBLIC ${arg_DEPS} PRIVATE ${arg_PRIVATE_DEPS})
    baton_coroutine_warnings(${target} ${arg_COROUTINES_GIVEN} ${arg_COROUTINES})
  else()
    add_library(${target} INTERFACE)
    target_compile_features(${target} INTERFACE cxx_std_23)
    target_link_libraries(${target} INTERFACE ${arg_DEPS} ${arg_PRIVATE_DEPS})
    set(visibility INTERFACE)
  endif()
  add_library(baton::${arg_NAME} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${arg_NAME})

  target_include_directories(${target} ${visibility}
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>" "$<BUILD_INTERFACE:${include_root}>"
    "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")

  if(arg_INSTALL AND BATON_INSTALL)
    install(TARGETS ${target} EXPORT batonTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
    foreach(header IN LISTS arg_HEADERS)
      cmake_path(ABSOLUTE_PATH header BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
      cmake_path(RELATIVE_PATH header BASE_DIRECTORY "${include_root}" OUTPUT_VARIABLE relative)
      cmake_path(GET relative PARENT_PATH folder)
      install(FILES "${header}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/${folder}" COMPONENT development)
    endforeach()
  endif()
endfunction()

# A program; the target has the program's name.
function(baton_executable)
  baton_parse(arg "INSTALL" "NAME" "SOURCES;DEPS" ${ARGN})
  baton_leave_out_missing(arg)
  add_executable(${arg_NAME} ${arg_SOURCES})
  baton_common_settings(${arg_NAME})
  target_include_directories(${arg_NAME} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${arg_NAME} PRIVATE baton_options ${arg_DEPS})
  baton_coroutine_warnings(${arg_NAME} ${arg_COROUTINES_GIVEN} ${arg_COROUTINES})
  if(arg_INSTALL AND BATON_INSTALL)
    install(TARGETS ${arg_NAME} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT programs)
  endif()
endfunction()

# Makes `target` part of what building `group` builds.
function(baton_collect group target)
  if(NOT TARGET ${group})
    add_custom_target(${group})
  endif()
  add_dependencies(${group} ${target})
endfunction()

# --- Tests --------------------------------------------------------------------------------------------------------

# Properties that every test shares. Instrumented programs are slower: their time limit is four times as long.
function(baton_test_settings test labels timeout)
  if(NOT timeout)
    set(timeout 60)
  endif()
  if(baton_instrumented OR BATON_COVERAGE)
    math(EXPR timeout "${timeout} * 4")
  endif()
  set_tests_properties(${test} PROPERTIES LABELS "${labels}" TIMEOUT ${timeout})
  set_property(TEST ${test} APPEND PROPERTY ENVIRONMENT
    "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=${PROJECT_SOURCE_DIR}/cmake/tsan.supp"
    ${ARGN})
endfunction()

# One GoogleTest executable and one CTest entry of the same name. ENV is added to the environment of the test.
function(baton_test)
  if(NOT BATON_BUILD_TESTS)
    return()
  endif()
  baton_parse(arg "" "NAME;TIMEOUT" "SOURCES;DEPS;LABELS;ENV" ${ARGN})
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  baton_executable(NAME ${arg_NAME} SOURCES ${arg_SOURCES} DEPS ${arg_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  if(NOT TARGET ${arg_NAME})
    return()
  endif()
  baton_coroutine_warnings(${arg_NAME} ${arg_COROUTINES_GIVEN} ${arg_COROUTINES})
  add_test(NAME ${arg_NAME} COMMAND ${arg_NAME} --gtest_brief=1)
  baton_test_settings(${arg_NAME} "${arg_LABELS}" "${arg_TIMEOUT}" ${arg_ENV})
endfunction()

# A libFuzzer target. With BATON_FUZZ it is a fuzzer; otherwise the same code with a main that runs the files of its
# corpus once, which is a test in every build.
function(baton_fuzz_target)
  if(NOT BATON_BUILD_TESTS)
    return()
  endif()
  baton_parse(arg "" "NAME" "SOURCES;DEPS" ${ARGN})
  baton_leave_out_missing(arg)
  set(target fuzz_${arg_NAME})
  set(corpus "${CMAKE_CURRENT_SOURCE_DIR}/corpus/${arg_NAME}")
  if(BATON_FUZZ)
    baton_executable(NAME ${target} SOURCES ${arg_SOURCES} DEPS ${arg_DEPS})
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    add_test(NAME ${target} COMMAND ${target} -runs=0 "${corpus}")
  else()
    baton_executable(NAME ${target} SOURCES ${arg_SOURCES} "${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cpp"
      DEPS ${arg_DEPS})
    add_test(NAME ${target} COMMAND ${target} "${corpus}")
  endif()
  baton_test_settings(${target} fuzz 120)
  baton_collect(fuzz_targets ${target})
endfunction()

# A Google Benchmark program; run by hand or by ./run bench, never by ctest.
function(baton_benchmark)
  if(NOT BATON_BUILD_BENCH OR NOT benchmark_FOUND)
    return()
  endif()
  baton_parse(arg "" "NAME" "SOURCES;DEPS" ${ARGN})
  baton_leave_out_missing(arg)
  baton_executable(NAME bench_${arg_NAME} SOURCES ${arg_SOURCES}
    DEPS ${arg_DEPS} benchmark::benchmark benchmark::benchmark_main)
  baton_collect(benchmarks bench_${arg_NAME})
endfunction()

# --- The installed CMake package ----------------------------------------------------------------------------------

# Writes batonConfig.cmake and its companions, so that find_package(baton) gives baton::client.
function(baton_install_package)
  if(NOT BATON_INSTALL)
    return()
  endif()
  include(CMakePackageConfigHelpers)
  set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/baton")
  configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/batonConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/batonConfig.cmake" INSTALL_DESTINATION "${package_dir}")
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/batonConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
  install(EXPORT batonTargets NAMESPACE baton:: DESTINATION "${package_dir}" COMPONENT development)
  install(FILES "${PROJECT_BINARY_DIR}/batonConfig.cmake" "${PROJECT_BINARY_DIR}/batonConfigVersion.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/FindAsio.cmake" DESTINATION "${package_dir}" COMPONENT development)
endfunction()
