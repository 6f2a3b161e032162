# Continual fine-tuning: drift, gate, registry, cycles.
fmtrain_test(drift_test LIBRARY fmtrain_runtime LABELS unit TIMEOUT 60 SOURCES
  unit/continual/drift_test.cpp unit/continual/drift_report_test.cpp golden/continual/drift_golden_test.cpp)
