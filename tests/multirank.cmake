foreach(precision fp32 bf16)
  add_test(NAME invariance_${precision} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/multirank/invariance.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR} ${precision})
  set_tests_properties(invariance_${precision} PROPERTIES LABELS multirank TIMEOUT 300 PROCESSORS 2)
endforeach()
