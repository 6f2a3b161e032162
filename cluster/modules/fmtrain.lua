-- Lmod: `module use PREFIX/share/fmtrain/modulefiles; module load fmtrain`. Installed, it finds PREFIX itself; copied into
-- another tree, write PREFIX here instead.
local prefix = myFileName():match("^(.*)/share/fmtrain/modulefiles/") or LmodError("name the installation in ", myFileName())

whatis("Name: fmtrain")
whatis("Version: " .. myModuleVersion())
whatis("Description: fine-tunes pretrained text models, with equal bits on any number of ranks")
help([[
fmtrain fine-tunes pretrained text models on one machine or many, with the same result to the last bit.

  fmtrain CONFIG                    trains, alone
  srun --mpi=pmix fmtrain CONFIG    in a job; job scripts are in ]] .. prefix .. [[/share/fmtrain/cluster/slurm
  fmtrain version                   which LibTorch and MPI were found

Load the site's MPI, and its LibTorch if it has one as a module, first.]])

conflict("fmtrain")
prepend_path("PATH", pathJoin(prefix, "bin"))
