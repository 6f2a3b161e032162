# What the main job does around its steps.
add_test(NAME early_stop COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/multirank/early_stop.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(early_stop PROPERTIES LABELS multirank TIMEOUT 120 PROCESSORS 2)
