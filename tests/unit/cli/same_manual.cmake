# Run by ctest: the manual page in the repository is the one that the program prints.
execute_process(COMMAND "${baton}" manual OUTPUT_VARIABLE printed COMMAND_ERROR_IS_FATAL ANY)
file(READ "${page}" kept)
if(NOT printed STREQUAL kept)
  message(FATAL_ERROR "docs/man/baton.1 is out of date: baton manual > docs/man/baton.1")
endif()
