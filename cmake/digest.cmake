# Builds a program and runs it: it says by itself whether its bits are right.
#   cmake -D COMPILER=<driver> -D FLAGS=<list> -D FILE=<file> -D PROGRAM=<to> -P digest.cmake
cmake_minimum_required(VERSION 3.25)

execute_process(COMMAND ${COMPILER} ${FLAGS} ${FILE} -o ${PROGRAM} RESULT_VARIABLE status ERROR_VARIABLE output)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${FILE} does not compile:\n${output}")
endif()
execute_process(COMMAND ${PROGRAM} RESULT_VARIABLE status OUTPUT_VARIABLE output)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${FILE} gives other bits by ${COMPILER} ${FLAGS}:\n${output}")
endif()
