# Compiles one section of a file that must not compile, and looks for the promised message.
#   cmake -D COMPILER=<driver> -D FLAGS=<list> -D FILE=<file> -D SECTION=<n> -P compile_fail.cmake
# Section 0 is the control: it must compile. Every other section has a line "// section <n>: <regex>" in the file.
cmake_minimum_required(VERSION 3.25)

execute_process(COMMAND ${COMPILER} ${FLAGS} -DRINGFOLD_SECTION=${SECTION} ${FILE}
  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
string(REGEX REPLACE "[ \t\r\n]+" " " line "${output}")  # compilers wrap where they like

if(SECTION EQUAL 0)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${FILE}: the control (section 0) must compile:\n${output}")
  endif()
  return()
endif()

file(READ ${FILE} text)
if(NOT text MATCHES "(^|\n)// section ${SECTION}: ([^\n]+)")
  message(FATAL_ERROR "${FILE}: no line \"// section ${SECTION}: <regex>\"")
endif()
set(wanted "${CMAKE_MATCH_2}")
if(status EQUAL 0)
  message(FATAL_ERROR "${FILE}: section ${SECTION} compiles, and must not")
elseif(NOT line MATCHES "${wanted}")
  message(FATAL_ERROR "${FILE}: section ${SECTION} fails, but says nowhere: ${wanted}\n${output}")
endif()
