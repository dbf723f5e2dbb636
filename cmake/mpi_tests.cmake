# Tests that run under mpirun: ringfold_mpi_test(<name> <ranks> <seconds> <command>...)
execute_process(COMMAND ${MPIEXEC_EXECUTABLE} --version OUTPUT_VARIABLE mpiexec_version ERROR_QUIET)
set(ringfold_mpiexec ${MPIEXEC_EXECUTABLE} ${MPIEXEC_PREFLAGS})
if(mpiexec_version MATCHES "Open MPI|OpenRTE|prterun")
  list(APPEND ringfold_mpiexec --oversubscribe)
endif()

# More ranks than cores: without yielding a step is 1500 times slower. Containers refuse the single copy and
# often run as root. MPIEXEC_TIMEOUT ends all ranks together, before CTest would end only their parent.
set(ringfold_mpi_environment
  OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_odls_base_sigkill_timeout=0
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1)

function(ringfold_mpi_test name ranks seconds)
  add_test(NAME ${name} COMMAND ${ringfold_mpiexec} ${MPIEXEC_NUMPROC_FLAG} ${ranks} ${ARGN} ${MPIEXEC_POSTFLAGS})
  math(EXPR deadline "${seconds} - 5")
  set_tests_properties(${name} PROPERTIES TIMEOUT ${seconds} PROCESSORS ${ranks} LABELS mpi
    ENVIRONMENT "${ringfold_mpi_environment};MPIEXEC_TIMEOUT=${deadline}")
endfunction()
