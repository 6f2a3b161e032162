foreach(precision fp32 bf16 fp16)
  add_test(NAME invariance_${precision} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/multirank/invariance.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR} ${precision})
  set_tests_properties(invariance_${precision} PROPERTIES LABELS multirank TIMEOUT 300 PROCESSORS 2)
endforeach()
add_test(NAME async_saves COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/multirank/async_saves.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(async_saves PROPERTIES LABELS multirank TIMEOUT 300 PROCESSORS 2)
add_test(NAME elastic_resume COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fault/elastic.sh $<TARGET_FILE:fmtrain_faulty> ${CMAKE_SOURCE_DIR})
add_test(NAME run_lock COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fault/lock.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
add_test(NAME failed_saves COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fault/storage.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
add_test(NAME diverging_run COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fault/diverging.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(elastic_resume run_lock failed_saves diverging_run PROPERTIES LABELS fault TIMEOUT 3600 PROCESSORS 2 RUN_SERIAL ON)

# The user's own check of the same, and that it can fail: one running sum a rank is another order of additions.
add_test(NAME check_invariance COMMAND fmtrain check invariance ${CMAKE_SOURCE_DIR}/configs/tiny_cpu.yaml)
add_test(NAME check_invariance_fails COMMAND fmtrain check invariance ${CMAKE_SOURCE_DIR}/configs/tiny_cpu.yaml --set numerics.exact=false)
set_tests_properties(check_invariance_fails PROPERTIES WILL_FAIL ON)
set_tests_properties(check_invariance check_invariance_fails PROPERTIES LABELS multirank TIMEOUT 120 PROCESSORS 2
  ENVIRONMENT "OMP_NUM_THREADS=1;FMTRAIN_HOME=${CMAKE_CURRENT_BINARY_DIR}/home")
