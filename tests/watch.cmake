fmtrain_test(watch_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES unit/watch/watch_test.cpp)
add_test(NAME hung_ranks COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fault/hang.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(hung_ranks PROPERTIES LABELS fault TIMEOUT 240 PROCESSORS 2 RUN_SERIAL ON)
