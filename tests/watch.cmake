fmtrain_test(watch_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES unit/watch/watch_test.cpp unit/watch/failure_test.cpp
  unit/watch/stack_test.cpp unit/watch/connections_test.cpp unit/launch/environment_test.cpp ${CMAKE_SOURCE_DIR}/launch/environment.cpp)
set_target_properties(watch_test PROPERTIES ENABLE_EXPORTS ON)
add_library(loop_on_signal MODULE support/loop_on_signal.cpp)
add_test(NAME hung_ranks COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fault/hang.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR}
  $<TARGET_FILE:loop_on_signal>)
add_test(NAME out_of_memory COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fault/memory.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(out_of_memory PROPERTIES LABELS fault TIMEOUT 120 PROCESSORS 2)
set_tests_properties(hung_ranks PROPERTIES LABELS fault TIMEOUT 240 PROCESSORS 2 RUN_SERIAL ON)
