set(FMTRAIN_TEST_PYTHON python3)
if(EXISTS ${CMAKE_SOURCE_DIR}/.deps/venv/bin/python)
  set(FMTRAIN_TEST_PYTHON ${CMAKE_SOURCE_DIR}/.deps/venv/bin/python)
endif()
fmtrain_test(ops_test LIBRARY fmtrain_models LABELS unit TIMEOUT 120 SOURCES unit/ops_test.cpp unit/encoder_layer_test.cpp
  unit/update_kernels_test.cpp unit/layer_kernels_test.cpp)
fmtrain_test(bert_golden_test LIBRARY fmtrain_runtime LABELS golden TIMEOUT 300 SOURCES golden/bert/bert_golden_test.cpp)
# Needs Python's transformers (tests/run.sh installs it), which the program and the other tests do not: skipped, visibly, where
# it is missing.
add_test(NAME transformers_load_the_result COMMAND ${FMTRAIN_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/golden/export/export_test.py $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR})
set_tests_properties(transformers_load_the_result PROPERTIES LABELS golden TIMEOUT 300 SKIP_RETURN_CODE 77
  ENVIRONMENT "OMP_NUM_THREADS=1;PYTHONPATH=${CMAKE_SOURCE_DIR}/.deps/test-packages")
