// What launch/environment.h takes from the environment and puts into it, and the program's own name for itself.
#include "launch/environment.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "runtime/program_id.h"

namespace fmtrain {
namespace {

class Launched : public testing::Test {
 protected:
  /// Says that a launcher started `ranks` processes, `here` of them on this host.
  void ranks(const char* ranks, const char* here) {
    set("OMPI_COMM_WORLD_SIZE", ranks);
    set("OMPI_COMM_WORLD_LOCAL_SIZE", here);
  }
  void set(const char* name, const char* value) { ::setenv(name, value, 1); }
  void TearDown() override {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_MCA_pml", "OMPI_MCA_mtl"}) ::unsetenv(name);
  }
  std::string layers() const {
    const char* text = std::getenv("OMPI_MCA_pml");
    return text ? text : "none chosen";
  }
};

TEST_F(Launched, OnOneHostNetworksAreSkipped) {
  ranks("2", "2");
  skip_networks_on_one_host();
  EXPECT_EQ(layers(), "^ucx,cm");
}

TEST_F(Launched, OnSeveralHostsOrWithoutALauncherTheyAreNot) {
  skip_networks_on_one_host();
  EXPECT_EQ(layers(), "none chosen");
  ranks("4", "2");
  skip_networks_on_one_host();
  EXPECT_EQ(layers(), "none chosen");
}

TEST_F(Launched, AChoiceOfTheUserStays) {
  ranks("2", "2");
  set("OMPI_MCA_mtl", "psm2");
  skip_networks_on_one_host();
  EXPECT_EQ(layers(), "none chosen");
  set("OMPI_MCA_pml", "ucx");
  skip_networks_on_one_host();
  EXPECT_EQ(layers(), "ucx");
}

TEST(ProgramId, IsTheLinkersHashInTheFile) {
  const std::string id = program_id();
  ASSERT_EQ(id.size(), 40u) << id;  // SHA-1's 20 bytes; 64 digits are the hash of a file without one
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::string program{std::istreambuf_iterator<char>(file), {}};
  std::string note("GNU", 4);
  for (size_t i = 0; i < id.size(); i += 2) note += static_cast<char>(std::stoi(id.substr(i, 2), nullptr, 16));
  EXPECT_NE(program.find(note), std::string::npos);
}

}  // namespace
}  // namespace fmtrain
