fmtrain_test(metrics_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES
  unit/metrics/tagging_test.cpp unit/metrics/classification_test.cpp unit/metrics/bootstrap_test.cpp unit/metrics/tag_columns_test.cpp)
fmtrain_test(metrics_golden_test LIBRARY fmtrain_base LABELS golden TIMEOUT 60 SOURCES golden/metrics/metrics_golden_test.cpp)
fmtrain_test(score_command_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES unit/metrics/score_command_test.cpp)
add_dependencies(score_command_test fmtrain)
