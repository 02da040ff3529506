# Run by ctest: the manual page in the repository is the one that the program prints.
execute_process(COMMAND "${program}" manual OUTPUT_VARIABLE printed COMMAND_ERROR_IS_FATAL ANY)
file(READ "${page}" kept)
if(NOT printed STREQUAL kept)
  message(FATAL_ERROR "${page} is out of date: ${program} manual > ${page}")
endif()
