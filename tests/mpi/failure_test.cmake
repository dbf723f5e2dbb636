# Runs a program whose ranks fail, and looks at what is left: how it ended, how soon, and what it said.
#   cmake -D COMMAND=<list> -D EXIT=<regex> -D SAYS=<regex> -D SECONDS=<most> -D SCRATCH=<folder> -P failure_test.cmake
cmake_minimum_required(VERSION 3.25)

# Killed ranks leave shared memory behind; give it a folder that goes with the test.
file(REMOVE_RECURSE ${SCRATCH})
file(MAKE_DIRECTORY ${SCRATCH})
set(ENV{OMPI_MCA_btl_vader_backing_directory} ${SCRATCH})

string(TIMESTAMP start "%s%f")
execute_process(COMMAND ${COMMAND} TIMEOUT 30 RESULT_VARIABLE exit OUTPUT_VARIABLE output ERROR_VARIABLE errors)
string(TIMESTAMP end "%s%f")
math(EXPR milliseconds "(${end} - ${start}) / 1000")
file(REMOVE_RECURSE ${SCRATCH})

math(EXPR most "${SECONDS} * 1000")
message(STATUS "exit ${exit} after ${milliseconds} ms\n${output}${errors}")
if(NOT exit MATCHES "^(${EXIT})$")
  message(FATAL_ERROR "it ended with ${exit}; wanted ${EXIT}")
endif()
if(NOT "${output}${errors}" MATCHES "${SAYS}")
  message(FATAL_ERROR "it did not say: ${SAYS}")
endif()
if(milliseconds GREATER most)
  message(FATAL_ERROR "it took ${milliseconds} ms; at most ${most} are allowed")
endif()
