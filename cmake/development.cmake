# What the tests, benchmarks and examples of this repository are built with. Nothing here reaches a user's project.
set(RINGFOLD_SANITIZE "" CACHE STRING "Sanitizers for the tests, as in -fsanitize=: address,undefined or thread")
option(RINGFOLD_NATIVE "Build kernels in tests, bench and examples for this machine's own CPU" ON)
option(RINGFOLD_WITH_CUDA "Compile the CUDA tests where nvcc is found" ON)

if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(NOT multi_config AND NOT CMAKE_BUILD_TYPE)
    set_property(CACHE CMAKE_BUILD_TYPE PROPERTY VALUE Release)
  endif()
endif()

# Strict builds: link ringfold_development. Warnings are errors only here, at top level.
add_library(ringfold_development INTERFACE)
target_compile_features(ringfold_development INTERFACE cxx_std_20)
if(PROJECT_IS_TOP_LEVEL)
  target_compile_options(ringfold_development INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wconversion;-Wshadow;-Werror>
    $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Wall;-Xcompiler=-Wextra>)
endif()
if(RINGFOLD_SANITIZE)
  target_compile_options(ringfold_development INTERFACE
    -fsanitize=${RINGFOLD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(ringfold_development INTERFACE -fsanitize=${RINGFOLD_SANITIZE})
  target_compile_definitions(ringfold_development INTERFACE RINGFOLD_SANITIZED=1)
endif()

# Speed is the point: kernel tests, benchmarks and compare_schedules.
add_library(ringfold_native INTERFACE)
if(RINGFOLD_NATIVE AND NOT RINGFOLD_SANITIZE)
  include(CheckCXXCompilerFlag)
  check_cxx_compiler_flag(-march=native RINGFOLD_HAS_MARCH_NATIVE)
  if(RINGFOLD_HAS_MARCH_NATIVE)
    target_compile_options(ringfold_native INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=native>)
  endif()
endif()

# Sets <package>_FOUND; says once what stays off without it.
function(ringfold_find package debian what)
  find_package(${package} QUIET)
  if(NOT ${package}_FOUND)
    message(STATUS "ringfold: no ${package}, so no ${what} (Debian: ${debian}; or run: bash cmake/setup.sh)")
  endif()
  set(${package}_FOUND ${${package}_FOUND} PARENT_SCOPE)
endfunction()
