fmtrain_test(safetensors_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES unit/checkpoint/safetensors_test.cpp)
fmtrain_test(checkpoint_store_test LIBRARY fmtrain_runtime LABELS unit TIMEOUT 120 SOURCES
  unit/checkpoint/checkpoint_store_test.cpp unit/checkpoint/shard_test.cpp unit/checkpoint/save_protocol_test.cpp
  unit/checkpoint/async_save_test.cpp unit/checkpoint/hostile_folder_test.cpp unit/checkpoint/swapped_links_test.cpp unit/checkpoint/restarts_test.cpp
  support/fail_files.cpp)
fmtrain_test(train_state_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES unit/checkpoint/train_state_test.cpp)
fmtrain_test(checkpoint_tools_test LIBRARY fmtrain_runtime LABELS unit TIMEOUT 300 SOURCES
  unit/checkpoint/checkpoint_tools_test.cpp unit/checkpoint/checkpoint_command_test.cpp support/fail_files.cpp)
