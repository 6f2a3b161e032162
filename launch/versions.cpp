#include "launch/versions.h"

#include <torch/version.h>

#include <fstream>

#include "comm/mpi_session.h"
#include "runtime/data/h5.h"

namespace fmtrain {
namespace {

/// As Linux calls it; "" where it does not say.
std::string model_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 1));
  return "";
}

std::string processor() {
#if defined(__x86_64__)
  const std::pair<bool, const char*> features[] = {{__builtin_cpu_supports("avx2") > 0, "avx2"},
                                                   {__builtin_cpu_supports("avx512f") > 0, "avx512f"},
                                                   {__builtin_cpu_supports("avx512bf16") > 0, "avx512_bf16"}};
  std::string text = "x86-64";
  for (const auto& [present, name] : features)
    if (present) text += std::string(" ") + name;
  return text + "," + model_name();
#else
  return "other";
#endif
}

/// The file whose name begins with `name` among those that this process has mapped.
std::string mapped_file(const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (const size_t path = line.find('/'); path != line.npos && line.compare(line.rfind('/') + 1, name.size(), name) == 0)
      return line.substr(path);
  return "";
}

}  // namespace

Json program_versions() {
  return {{"fmtrain", FMTRAIN_VERSION}, {"torch", TORCH_VERSION}, {"mpi", mpi_version()}, {"hdf5", hdf5_version()},
          {"compiler", __VERSION__}, {"processor", processor()}};
}

Json library_paths() {
  const auto open_mpi = mapped_file("libmpi.so");
  return {{"libtorch", mapped_file("libtorch_cpu.so")}, {"libmpi", open_mpi.empty() ? mapped_file("libmpich.so") : open_mpi}};
}

}  // namespace fmtrain
