fmtrain_test(plan_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES unit/plan_test.cpp)
