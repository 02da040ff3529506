# Run by ctest (see CMakeLists.txt here): install, configure the consumer, build it, run it. Any failure ends it.
file(REMOVE_RECURSE "${scratch}")

function(step)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

step("${CMAKE_COMMAND}" --install "${build}" --prefix "${scratch}/prefix" --component development)
step("${CMAKE_COMMAND}" -S "${consumer}" -B "${scratch}/build" -G "${generator}"
  "-DCMAKE_PREFIX_PATH=${scratch}/prefix" "-DCMAKE_CXX_COMPILER=${compiler}"
  "-DCMAKE_CXX_COMPILER_LAUNCHER=${launcher}")
step("${CMAKE_COMMAND}" --build "${scratch}/build")
step("${scratch}/build/consumer")
