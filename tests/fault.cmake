# The storage of checkpoints against faults. fault/run runs all tests of this label.
fmtrain_test(power_loss_test LIBRARY fmtrain_runtime LABELS fault TIMEOUT 300 SOURCES
  fault/power_loss_test.cpp fault/small_run.cpp support/power_loss.cpp support/broken_writers.cpp)
fmtrain_test(kill_test LIBRARY fmtrain_runtime LABELS fault TIMEOUT 300 SOURCES
  fault/kill_test.cpp fault/small_run.cpp support/power_loss.cpp support/broken_writers.cpp)
fmtrain_test(damage_test LIBRARY fmtrain_runtime LABELS fault TIMEOUT 300 SOURCES
  fault/damage_test.cpp fault/failing_calls_test.cpp fault/small_run.cpp
  support/power_loss.cpp support/broken_writers.cpp support/system_calls.cpp)
foreach(call open write pread fsync close fstat mkdir rename unlink rmdir opendir statvfs)
  target_link_options(damage_test PRIVATE -Wl,--wrap=${call})
endforeach()

# Ranks under mpirun that are killed, broken, stopped, signalled. fmtrain_faulty is the program with faults at named points and a record
# of the samples trained on. A release has so many trials that each has a limit of its own instead of the test.
add_executable(fmtrain_faulty $<TARGET_OBJECTS:fmtrain> support/faulty_program.cpp)
target_link_libraries(fmtrain_faulty PRIVATE fmtrain_runtime CLI11::CLI11)
use_torch(fmtrain_faulty)
set(string RKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE)
foreach(function 15check_agreementERNS_12CommunicatorE${string} 17read_dataset_fileE${string}l 6linearERKN2at6TensorERKNS_12LinearWeightE
        4Node7publishEmRKNS_4CallE 6Loader4nextEv 12check_finiteB5cxx11ERKNS_10StepResultERKNS_4StepERNS_10TrainStateE
        11shard_bytesERKNS_9StateDictE 11write_shardERNS_7FileOpsE${string}RNS_10ShardImageERSt6vectorIlSaIlEE)
  target_link_options(fmtrain_faulty PRIVATE -Wl,--wrap=_ZN7fmtrain${function})
endforeach()
foreach(test killed_ranks:kills broken_ranks:crashes stuck_ranks:hangs signalled_ranks:signals no_leaks:leaks continual_cycles:continual)
  string(REPLACE ":" ";" test ${test})
  list(GET test 0 name)
  list(GET test 1 file)
  add_test(NAME ${name} COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/fault/${file}.py $<TARGET_FILE:fmtrain> $<TARGET_FILE:fmtrain_faulty>)
  set_tests_properties(${name} PROPERTIES LABELS fault TIMEOUT 3600 PROCESSORS 2 RUN_SERIAL ON)
endforeach()
