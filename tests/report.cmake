fmtrain_test(report_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES
  unit/report/run_log_test.cpp unit/report/progress_test.cpp unit/report/console_test.cpp unit/report/memory_test.cpp)
fmtrain_test(tensorboard_golden_test LIBRARY fmtrain_base LABELS golden TIMEOUT 60 SOURCES
  golden/tensorboard/tensorboard_golden_test.cpp)
