# Continual fine-tuning: drift, gate, registry, cycles.
fmtrain_test(drift_test LIBRARY fmtrain_runtime LABELS unit TIMEOUT 60 SOURCES
  unit/continual/drift_test.cpp unit/continual/drift_report_test.cpp golden/continual/drift_golden_test.cpp
  unit/continual/drift_history_test.cpp unit/continual/gate_counts_test.cpp)
fmtrain_test(gate_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES unit/continual/gate_test.cpp)
fmtrain_test(continual_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES
  unit/continual/examples_test.cpp unit/continual/triggers_test.cpp unit/continual/slices_test.cpp
  unit/continual/measures_test.cpp unit/continual/page_test.cpp
  unit/continual/mutated_records_test.cpp)
fmtrain_test(observe_test LIBRARY fmtrain_runtime LABELS unit TIMEOUT 60 SOURCES unit/continual/observe_test.cpp)
fmtrain_test(registry_test LIBRARY fmtrain_base LABELS fault TIMEOUT 120 SOURCES
  unit/continual/registry_test.cpp unit/continual/registry_recovery_test.cpp unit/continual/cycle_test.cpp support/fail_files.cpp)
fmtrain_test(text_store_test LIBRARY fmtrain_base LABELS fault TIMEOUT 120 SOURCES
  unit/continual/text_store_test.cpp unit/continual/cycle_data_test.cpp support/fail_files.cpp)
# Simulations of bench/results/continual.md, built on demand.
add_executable(continual_simulate EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/continual/simulate.cpp)
target_link_libraries(continual_simulate PRIVATE fmtrain_runtime)
use_torch(continual_simulate)
