# fmtrain check under a launcher: verdicts on invented figures, measuring with threads, real ranks, and hosts that are namespaces.
fmtrain_test(preflight_verdicts_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES unit/preflight/verdicts_test.cpp)
fmtrain_test(preflight_measure_test LIBRARY fmtrain_runtime LABELS unit TIMEOUT 120 SOURCES unit/preflight/measure_test.cpp support/fail_files.cpp)
set_tests_properties(preflight_measure_test PROPERTIES RUN_SERIAL ON)  # rates of threads beside each other tell the slow one
add_test(NAME preflight COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/multirank/preflight.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(preflight PROPERTIES LABELS multirank TIMEOUT 240 PROCESSORS 2)
add_test(NAME preflight_fault COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fault/preflight.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(preflight_fault PROPERTIES LABELS fault TIMEOUT 120 PROCESSORS 2 RUN_SERIAL ON)
add_test(NAME multihost_preflight COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/multihost/preflight.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(multihost_preflight PROPERTIES LABELS "multirank;multihost" TIMEOUT 180 PROCESSORS 2 RUN_SERIAL ON SKIP_RETURN_CODE 77)
