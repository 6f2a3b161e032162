fmtrain_test(scaling_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES
  unit/scaling/scaling_test.cpp unit/scaling/compare_test.cpp unit/scaling/collectives_test.cpp
  unit/scaling/simulation_test.cpp)
# The whole command on 1 and 2 ranks, and that it says so when bits differ.
add_test(NAME bench_scaling COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/multirank/bench_scaling.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(bench_scaling PROPERTIES LABELS multirank TIMEOUT 240 PROCESSORS 2
  ENVIRONMENT "${FMTRAIN_MPI_ENVIRONMENT};FMTRAIN_HOME=${CMAKE_CURRENT_BINARY_DIR}/home")
