fmtrain_test(ops_test LIBRARY fmtrain_models LABELS unit TIMEOUT 120 SOURCES unit/ops_test.cpp)
