fmtrain_test(plan_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES unit/plan_test.cpp)
fmtrain_test(schedule_test LIBRARY fmtrain_runtime LABELS unit TIMEOUT 60 SOURCES unit/schedule_test.cpp)
fmtrain_test(engine_parts_test LIBRARY fmtrain_runtime LABELS unit TIMEOUT 120 SOURCES unit/engine_parts_test.cpp)
