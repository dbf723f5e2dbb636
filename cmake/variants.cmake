# ringfold_add_variants(<target> SOURCES <files...> [LIBRARIES <targets...>])
#
# Compiles sources once for each instruction set of <ringfold/kernel/cpu/instruction_set.hpp>, into static libraries
# <target>_<set>, which link LIBRARIES, and adds <target>, which stands for them all: a program has every one, and
# chooses when it runs. The baseline has the flags of the project, and is alone where CPUs are not x86-64 or objects not
# ELF. The others have no code that runs before main, since every machine would run it, and no link-time optimisation,
# which knows nothing of names that objects get later.
function(ringfold_add_variants target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES")
  if(NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "[ringfold] ringfold_add_variants(<target> SOURCES <files...> [LIBRARIES <targets...>])")
  endif()
  set(flags_avx2 -mavx2 -mfma)
  set(flags_avx512 ${flags_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  set(flags_avx512_bf16 ${flags_avx512} -mavx512bf16)
  set(sets baseline)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$" AND CMAKE_EXECUTABLE_FORMAT STREQUAL "ELF")
    list(APPEND sets avx2 avx512 avx512_bf16)
  endif()

  add_library(${target} INTERFACE)
  foreach(set IN LISTS sets)
    set(variant ${target}_${set})
    add_library(${variant} STATIC ${arg_SOURCES})
    target_compile_definitions(${variant} PRIVATE RINGFOLD_INSTRUCTION_SET=${set})
    target_link_libraries(${variant} PUBLIC ringfold::ringfold ${arg_LIBRARIES})
    target_link_libraries(${target} INTERFACE ${variant})
    if(set STREQUAL "baseline")
      continue()
    endif()
    list(FIND sets ${set} number)
    target_compile_options(${variant} PRIVATE ${flags_${set}} -fno-lto)
    set_target_properties(${variant} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
    add_custom_command(TARGET ${variant} POST_BUILD COMMAND ${CMAKE_COMMAND} -D LIBRARY=$<TARGET_FILE:${variant}>
      -D SET=${set} -D NUMBER=${number} -D NM=${CMAKE_NM} -D OBJCOPY=${CMAKE_OBJCOPY} -D READELF=${CMAKE_READELF}
      -P ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/own_names.cmake VERBATIM)
  endforeach()
endfunction()
