# Data and storage that go bad while a run uses them.
add_test(NAME damaged_data COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fault/data.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
add_test(NAME hostile_places COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fault/hostile.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
add_test(NAME full_disks COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fault/full.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(damaged_data hostile_places full_disks PROPERTIES LABELS fault TIMEOUT 120 PROCESSORS 2 RUN_SERIAL ON SKIP_RETURN_CODE 77)
