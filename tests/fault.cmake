# The storage of checkpoints against faults. fault/run runs all tests of this label.
fmtrain_test(power_loss_test LIBRARY fmtrain_runtime LABELS fault TIMEOUT 300 SOURCES
  fault/power_loss_test.cpp fault/small_run.cpp support/power_loss.cpp support/broken_writers.cpp)
fmtrain_test(damage_test LIBRARY fmtrain_runtime LABELS fault TIMEOUT 300 SOURCES
  fault/damage_test.cpp fault/failing_calls_test.cpp fault/small_run.cpp
  support/power_loss.cpp support/broken_writers.cpp support/system_calls.cpp)
foreach(call open write pread fsync close fstat mkdir rename unlink rmdir opendir statvfs)
  target_link_options(damage_test PRIVATE -Wl,--wrap=${call})
endforeach()
