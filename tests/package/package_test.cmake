cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE ${WORK})
set(prefix ${WORK}/prefix)
set(arguments -G ${GENERATOR} -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_BUILD_TYPE=Debug
  -D CMAKE_PREFIX_PATH=${prefix} -D RINGFOLD_SOURCE=${SOURCE})

function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${what}:\n${output}")
  endif()
endfunction()

function(refused what wanted)
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${WORK}/refused ${arguments} ${ARGN}
    RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REGEX REPLACE "[ \r\n]+" " " output "${output}")
  if(status EQUAL 0 OR NOT output MATCHES "${wanted}")
    message(FATAL_ERROR "${what} must be refused with \"${wanted}\":\n${output}")
  endif()
endfunction()

run("install" ${CMAKE_COMMAND} --install ${BINARY} --config ${CONFIG} --prefix ${prefix})

# Every header that is not a missing backend's arrives.
file(GLOB_RECURSE sources RELATIVE ${SOURCE}/include ${SOURCE}/include/*.hpp ${SOURCE}/include/*.cuh)
file(GLOB_RECURSE installed RELATIVE ${prefix}/include ${prefix}/include/*)
if(NOT "mpi" IN_LIST COMPONENTS)
  list(FILTER sources EXCLUDE REGEX "/comm/mpi[^/]*$")
endif()
if(NOT "${sources}" STREQUAL "${installed}")
  message(FATAL_ERROR "installed headers differ from the source's:\n${sources}\n${installed}")
endif()

foreach(how installed subdirectory)
  set(build ${WORK}/${how})
  run("${how}: configure" ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${build} ${arguments}
    -D HOW=${how} -D "COMPONENTS=${COMPONENTS}")
  run("${how}: build" ${CMAKE_COMMAND} --build ${build} --config Debug)
  run("${how}: run" ${CMAKE_CTEST_COMMAND} --test-dir ${build} -C Debug)
endforeach()

refused("an unknown component" "has no component 'nccl'" -D HOW=installed -D COMPONENTS=nccl)
refused("another minor version" "requested version \"0.9\"" -D HOW=installed -D COMPONENTS=threads -D VERSION=0.9)
