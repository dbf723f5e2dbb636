# Gives all that a static library defines the name of its instruction set behind a dot. Inline functions have the same
# name wherever they are compiled, and of equal names a linker keeps any one: it may be one that a plain machine cannot
# run. Entries, which name the set as an argument of a template, stay as they are.
#   cmake -D LIBRARY=<lib.a> -D SET=<name> -D NUMBER=<its place among the sets> -D NM=<> -D OBJCOPY=<> -D READELF=<>
#         -P own_names.cmake
cmake_minimum_required(VERSION 3.25)

cmake_path(GET LIBRARY PARENT_PATH folder)
cmake_path(GET LIBRARY FILENAME library)
function(read_with output)
  execute_process(COMMAND ${ARGN} ${library} WORKING_DIRECTORY ${folder} OUTPUT_VARIABLE text
    COMMAND_ERROR_IS_FATAL ANY)
  set(${output} "${text}" PARENT_SCOPE)
endfunction()

# Sections with a priority behind their names are a sanitizer's or a profiler's.
read_with(sections ${READELF} -S -W)
if(sections MATCHES "\\.init_array +INIT_ARRAY|\\.ctors ")
  message(FATAL_ERROR "[ringfold] ${library} runs code before main, which machines without ${SET} would run too: make "
    "what it initialises constexpr, or local to a function; before g++ 13, <iostream> is enough, so take <ostream>")
endif()

read_with(symbols ${NM} --defined-only -P)
string(REGEX MATCHALL "[^ \n]+ [A-Za-z] " names "${symbols}")
set(entry "LN8ringfold15instruction_setE${NUMBER}E[^ ]* [TDBR] $")
set(entries ${names})
list(FILTER entries INCLUDE REGEX "${entry}")
if(NOT entries)
  message(FATAL_ERROR "[ringfold] ${library} has no entry; in a source, add    "
    "template <> my_result my_entry<ringfold::compiled_for>() { ... }")
endif()
list(FILTER names EXCLUDE REGEX "${entry}")
list(TRANSFORM names REPLACE "^([^ ]+) . $" "\\1 \\1.${SET}")
list(REMOVE_DUPLICATES names)
list(JOIN names "\n" names)
file(WRITE ${LIBRARY}.names "${names}\n")
execute_process(COMMAND ${OBJCOPY} --redefine-syms=${LIBRARY}.names ${LIBRARY} COMMAND_ERROR_IS_FATAL ANY)
