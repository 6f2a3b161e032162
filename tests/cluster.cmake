# What users carry to a cluster: the bundle, and the scripts and units that no test runs.
set(cluster ${CMAKE_CURRENT_SOURCE_DIR}/cluster)
add_test(NAME cluster_files COMMAND ${cluster}/parse.sh ${CMAKE_SOURCE_DIR})
set_tests_properties(cluster_files PROPERTIES LABELS unit TIMEOUT 60)
if(NOT FMTRAIN_SANITIZE)
  add_test(NAME cluster_bundle COMMAND ${cluster}/bundle.sh $<TARGET_FILE:fmtrain> ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR})
  set_tests_properties(cluster_bundle PROPERTIES LABELS multirank TIMEOUT 300 PROCESSORS 2)
endif()
