from spack.package import *

try:
    from spack_repo.builtin.build_systems.cmake import CMakePackage
except ImportError:  # Spack before 1.0 has it in spack.package
    pass


class Fmtrain(CMakePackage):
    """Fine-tunes pretrained text models on one machine or many, with the same result to the last bit on any number of ranks."""

    # Built from a checkout: environments/spack.yaml develops it.
    license("Apache-2.0")
    version("0.1.0")

    variant("cuda", default=False, description="NVIDIA GPUs too")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("cli11", type="build")
    depends_on("mpi")
    depends_on("hdf5@1.10:1.14~mpi+threadsafe")
    depends_on("yaml-cpp")
    depends_on("spdlog+shared")
    depends_on("fmt")
    depends_on("nlohmann-json")
    depends_on("icu4c")
    depends_on("openssl")
    depends_on("xxhash")
    depends_on("py-torch@2.11~cuda", when="~cuda")
    depends_on("py-torch@2.11+cuda", when="+cuda")
    depends_on("cuda@13:", when="+cuda")
    depends_on("nccl", when="+cuda")

    conflicts("%gcc@:11", msg="fmtrain is C++20")

    def cmake_args(self):
        torch = join_path(self.spec["py-torch"].package.cmake_prefix_paths[0], "..", "..")
        args = [
            self.define("FMTRAIN_TESTS", False),
            self.define("FMTRAIN_WERROR", False),
            self.define("FMTRAIN_WITH_CUDA", "REQUIRED" if self.spec.satisfies("+cuda") else "OFF"),
            self.define("TORCH_CPU_LIBRARY", join_path(torch, "lib", "libtorch_cpu.so")),
            self.define("Torch_DIR", join_path(torch, "share", "cmake", "Torch")),
        ]
        if self.spec.satisfies("+cuda"):
            args.append(self.define("NCCL_INCLUDE_DIR", self.spec["nccl"].prefix.include))
            args.append(self.define("NCCL_LIBRARY", join_path(self.spec["nccl"].prefix.lib, "libnccl.so.2")))
        return args

    @run_after("install")
    @on_package_attributes(run_tests=True)
    def says_its_version(self):
        Executable(join_path(self.prefix.bin, "fmtrain"))("version")
