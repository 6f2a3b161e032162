# One contract for all communicators: threads in one process, MPI at several world sizes, NCCL where it is built.
fmtrain_test(comm_threads LIBRARY fmtrain_comm LABELS unit TIMEOUT 120 SOURCES
  unit/comm/threads_contract_test.cpp multirank/comm_contract.cpp multirank/comm_parts_contract.cpp)
fmtrain_test(placement_test LIBRARY fmtrain_runtime LABELS unit TIMEOUT 60 SOURCES
  unit/launch/placement_test.cpp ${CMAKE_SOURCE_DIR}/launch/placement.cpp)
fmtrain_test(journal_test LIBRARY fmtrain_comm LABELS unit TIMEOUT 60 SOURCES unit/comm/journal_test.cpp)

add_executable(comm_mpi multirank/comm_mpi_contract.cpp multirank/comm_contract.cpp multirank/comm_parts_contract.cpp)
target_link_libraries(comm_mpi PRIVATE fmtrain_comm GTest::gmock GTest::gtest)
for_tests(comm_mpi torch)
set(FMTRAIN_MPI_ENVIRONMENT OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none)
foreach(ranks 1 2 3 4 5 8)
  add_test(NAME comm_mpi_${ranks} COMMAND timeout -k 5 150 ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks} $<TARGET_FILE:comm_mpi>)
  set_tests_properties(comm_mpi_${ranks} PROPERTIES LABELS multirank TIMEOUT 160 PROCESSORS 2 ENVIRONMENT "${FMTRAIN_MPI_ENVIRONMENT}")
endforeach()

# The bandwidth table, alone and on two ranks, small.
add_test(NAME bench_comm_alone COMMAND fmtrain bench comm --to 64K --rounds 1 --json bench_comm_alone.json)
add_test(NAME bench_comm COMMAND timeout -k 5 100 ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} 2 $<TARGET_FILE:fmtrain> bench comm --to 64K --rounds 1 --json bench_comm.json)
set_tests_properties(bench_comm bench_comm_alone PROPERTIES LABELS multirank TIMEOUT 120 PROCESSORS 2 ENVIRONMENT "${FMTRAIN_MPI_ENVIRONMENT}"
  PASS_REGULAR_EXPRESSION "65536 all_reduce")
