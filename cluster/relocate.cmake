# For cpack: the packed program looks for LibTorch beside bin/, in no folder of the machine that built it. Other places are named
# in LD_LIBRARY_PATH.
file(GLOB_RECURSE programs ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/*/bin/fmtrain ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/bin/fmtrain)
list(REMOVE_DUPLICATES programs)
list(LENGTH programs count)
if(NOT count EQUAL 1)
  message(FATAL_ERROR "one bin/fmtrain is expected in the package, there are ${count}: build fmtrain first")
endif()
file(RPATH_SET FILE "${programs}" NEW_RPATH "${CPACK_FMTRAIN_RUNPATH}")
