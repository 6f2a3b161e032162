fmtrain_test(config_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES
  unit/config/faults_test.cpp unit/config/keys_test.cpp unit/config/typos_test.cpp unit/config/round_trip_test.cpp
  unit/config/schema_test.cpp unit/config/wrong_configs.cpp unit/config/random_config.cpp)
fmtrain_test(cli_test LIBRARY fmtrain_base LABELS unit TIMEOUT 120 SOURCES unit/launch/cli_test.cpp unit/config/wrong_configs.cpp)
set_tests_properties(cli_test PROPERTIES PROCESSORS 2)  # starts the program some 90 times
add_dependencies(cli_test fmtrain)
fmtrain_test(bench_command_test LIBRARY fmtrain_base LABELS unit TIMEOUT 120 SOURCES unit/launch/bench_command_test.cpp)
add_dependencies(bench_command_test fmtrain)
