# bench/compare.py on results that are made up: what it prints, and its exit status.
#   cmake -D PYTHON=<python3> -P compare_test.cmake
cmake_minimum_required(VERSION 3.25)

function(check old new expected_status expected)
  execute_process(COMMAND ${PYTHON} ${CMAKE_CURRENT_LIST_DIR}/../../bench/compare.py ${old}.json ${new}.json
    WORKING_DIRECTORY ${CMAKE_CURRENT_LIST_DIR}
    RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status STREQUAL expected_status OR NOT output STREQUAL expected)
    message(SEND_ERROR "${old} and ${new}: status ${status}:\n${output}\nexpected: ${expected_status}:\n${expected}")
  endif()
endfunction()

# The new peak is half the old one, so what takes twice the time is steady; a change within a row's spread is none.
check(peers_old peers_new 1 [[
       old        new   change
       0.5        0.4   -20.0%  forward, slower  SLOWER
       0.6     0.5769    -3.8%  ring, a little slower
       0.4        0.8  +100.0%  forward, faster
only in the old file: ring, gone
only in the new file: ring, added
5 rows, 3 changed, 1 slower by more than 5%
]])
check(peers_old peers_old 0 "6 rows, 0 changed, 0 slower by more than 5%\n")

# Repetitions or their median; of_peak or the time and the peak of the run; manual time; units.
check(benchmark_old benchmark_new 1 [[
       old        new   change
       0.8        0.6   -25.0%  forward/64  SLOWER
 3.333e-07  6.667e-07  +100.0%  hop/manual_time
4 rows, 2 changed, 1 slower by more than 5%
]])
check(benchmark_old other 2 "no row in common\n")
