"""What a site checks after an installation, by ReFrame: reframe -C SITE.py -c fmtrain_checks.py -r

Installed or in a checkout, with fmtrain in PATH (or -S fmtrain=PATH). -S Build.source=CHECKOUT names what is built.
"""
import os

import reframe as rfm
import reframe.utility.sanity as sn
from reframe.core.builtins import performance_function, run_after, sanity_function, variable

# Of a checkout, or of an installation: both have configs/ and data/.
share = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
config = os.path.join(share, "configs", "tiny_cpu.yaml")


@rfm.simple_test
class Build(rfm.CompileOnlyRegressionTest):
    """Of a checkout, with the MPI and LibTorch of the programming environment."""

    source = variable(str, value=share)
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    build_system = "CMake"
    sourcesdir = None
    build_time_limit = "1h"

    @run_after("init")
    def only_of_a_checkout(self):
        self.skip_if(not os.path.exists(os.path.join(self.source, "CMakeLists.txt")), "no checkout: -S Build.source=CHECKOUT")

    @run_after("setup")
    def configure(self):
        self.build_system.srcdir = self.source
        self.build_system.builddir = "build"
        self.build_system.config_opts = ["-DFMTRAIN_TESTS=OFF"]
        self.build_system.max_concurrency = 8

    @sanity_function
    def is_there(self):
        return sn.path_isfile(os.path.join(self.stagedir, "build", "fmtrain"))


class Run(rfm.RunOnlyRegressionTest):
    fmtrain = variable(str, value="fmtrain")
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    sourcesdir = None
    time_limit = "10m"
    env_vars = {"OMP_NUM_THREADS": "1"}

    @run_after("init")
    def program(self):
        self.executable = self.fmtrain


@rfm.simple_test
class TwoRanks(Run):
    """Two ranks by the site's launcher train a small model."""

    num_tasks = 2
    executable_opts = [config, "--set", "run.dir=run"]

    @sanity_function
    def trained_by_both(self):
        return sn.all([
            sn.assert_found(r"^tiny_cpu: 2 ranks", "run/report.txt"),
            sn.assert_found(r'"code": *0', "run/exit.json"),
        ])


@rfm.simple_test
class Invariance(Run):
    """Losses and weights of 1, 2, 4, 8 ranks are equal in all bits on this processor."""

    executable_opts = ["check", "invariance", config]

    @sanity_function
    def is_equal(self):
        return sn.assert_eq(self.job.exitcode, 0)


@rfm.simple_test
class Bandwidth(Run):
    """Bus bandwidth of the all-reduce between two ranks; a site sets reference values of its own."""

    num_tasks = 2
    executable_opts = ["bench", "comm", "--to", "25M", "--rounds", "5"]

    @sanity_function
    def has_a_table(self):
        return sn.assert_found(r"^ *26214400 all_reduce", self.stdout)

    @performance_function("GB/s")
    def all_reduce(self):
        return sn.extractsingle(r"^ *26214400 all_reduce +\S+ us +(\S+) GB/s bus", self.stdout, 1, float)
