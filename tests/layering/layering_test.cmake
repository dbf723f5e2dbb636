# The clean tree passes; in the violating one every header is reported once, with the words of its own first line.
cmake_minimum_required(VERSION 3.25)

function(check tree)
  execute_process(COMMAND ${CMAKE_COMMAND} -D ROOT=${CMAKE_CURRENT_LIST_DIR}/${tree}
      -P ${CMAKE_CURRENT_LIST_DIR}/../../cmake/layering.cmake
    RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  set(status ${status} PARENT_SCOPE)
  set(output "${output}" PARENT_SCOPE)
endfunction()

check(clean)
if(NOT status EQUAL 0)
  message(SEND_ERROR "the clean tree is refused: ${output}")
endif()

check(violating)
if(status EQUAL 0)
  message(SEND_ERROR "the violating tree passes")
endif()
set(root ${CMAKE_CURRENT_LIST_DIR}/violating)
file(GLOB_RECURSE headers RELATIVE ${root} ${root}/*.hpp ${root}/*.cuh)
foreach(header IN LISTS headers)
  file(STRINGS ${root}/${header} wanted LIMIT_COUNT 1)
  string(REPLACE "// report: " "${header}: " wanted "${wanted}")
  string(FIND "${output}" "${wanted}" position)
  if(position EQUAL -1)
    message(SEND_ERROR "not reported: ${wanted}")
  endif()
endforeach()

list(LENGTH headers expected)
if(expected EQUAL 0 OR NOT output MATCHES "layering: ${expected} violations")
  message(SEND_ERROR "not one report for each of ${expected} headers:\n${output}")
endif()
