# Raw files, preparing, prepared files.
fmtrain_test(raw_data_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES
  unit/data/raw_right_test.cpp unit/data/raw_malformed_test.cpp unit/data/malformed.cpp
  unit/data/write_raw_test.cpp)
fmtrain_test(prepare_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES unit/data/prepare_test.cpp unit/data/prepare_threads_test.cpp)
fmtrain_test(hostile_file_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES unit/data/hostile_file_test.cpp)
fmtrain_test(dataset_test LIBRARY fmtrain_runtime LABELS unit TIMEOUT 60 SOURCES unit/data/dataset_test.cpp)
fmtrain_test(prepare_command_test LIBRARY fmtrain_base LABELS unit TIMEOUT 120 SOURCES
  unit/data/prepare_command_test.cpp unit/data/malformed.cpp)
add_dependencies(prepare_command_test fmtrain)
