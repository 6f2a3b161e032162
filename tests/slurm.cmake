# Jobs of a real Slurm on this machine (cluster/slurm/one_machine.sh); skipped, with the reason, where it cannot be: not root,
# no packages. One after the other, for they wait most of the time, from the start on (COST), when others can run beside them.
foreach(job launch sweep time_limit no_progress continual requeue:train requeue:train_mpirun cancel:train cancel:train_mpirun)
  string(REPLACE ":" ";" job ${job})
  list(GET job 0 file)
  list(JOIN job "_" name)
  list(REMOVE_AT job 0)
  set(script ${CMAKE_CURRENT_SOURCE_DIR}/slurm/${file}.sh)
  add_test(NAME slurm_${name} COMMAND ${script} $<TARGET_FILE:fmtrain> ${CMAKE_SOURCE_DIR} ${job})
  set_tests_properties(slurm_${name} PROPERTIES LABELS slurm TIMEOUT 400 COST 100 RESOURCE_LOCK slurm SKIP_RETURN_CODE 77)
endforeach()
