fmtrain_test(config_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES
  unit/config/faults_test.cpp unit/config/keys_test.cpp unit/config/typos_test.cpp unit/config/round_trip_test.cpp
  unit/config/schema_test.cpp unit/config/wrong_configs.cpp unit/config/random_config.cpp)
fmtrain_test(cli_test LIBRARY fmtrain_base LABELS unit TIMEOUT 120 SOURCES unit/launch/cli_test.cpp unit/config/wrong_configs.cpp)
add_dependencies(cli_test fmtrain)
