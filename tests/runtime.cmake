# Model directories, predictions, exact evaluation, freezing, reading ahead, early stop.
fmtrain_test(runtime_test LIBRARY fmtrain_runtime LABELS unit TIMEOUT 120 SOURCES
  unit/runtime/model_dir_test.cpp unit/runtime/predictor_test.cpp unit/runtime/evaluator_test.cpp unit/runtime/freeze_test.cpp
  unit/runtime/ledger_test.cpp unit/runtime/loader_test.cpp unit/runtime/memory_fit_test.cpp unit/runtime/dry_run_test.cpp
  unit/runtime/run_inputs_test.cpp unit/runtime/run_outputs_test.cpp unit/runtime/grown_head_test.cpp
  unit/runtime/out_of_memory_test.cpp unit/runtime/spikes_test.cpp
  unit/runtime/replicas_test.cpp unit/runtime/stragglers_test.cpp support/fail_files.cpp)
add_dependencies(runtime_test fmtrain)
fmtrain_test(run_lock_test LIBRARY fmtrain_base LABELS fault TIMEOUT 120 SOURCES
  unit/runtime/run_lock_test.cpp unit/runtime/run_lock_races_test.cpp support/fail_files.cpp)
add_test(NAME early_stop COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/multirank/early_stop.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(early_stop PROPERTIES LABELS multirank TIMEOUT 120 PROCESSORS 2)
add_test(NAME placement COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/multirank/placement.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(placement PROPERTIES LABELS multirank TIMEOUT 120 PROCESSORS 2)
add_test(NAME average COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/multirank/average.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(average PROPERTIES LABELS multirank TIMEOUT 120 PROCESSORS 2)
add_test(NAME unfreeze COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/multirank/unfreeze.sh $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(unfreeze PROPERTIES LABELS multirank TIMEOUT 120 PROCESSORS 2)
