// YAML in cluster/ that only a Kubernetes cluster or Spack would read: it is YAML, and has the keys that these want in their places.
#include <gmock/gmock.h>
#include <yaml-cpp/yaml.h>

#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace fmtrain {
namespace {

using testing::Contains;
using testing::UnorderedElementsAre;

YAML::Node file(const std::string& name) { return YAML::LoadFile(std::string(FMTRAIN_SOURCE_DIR) + "/cluster/" + name); }

std::set<std::string> keys(const YAML::Node& map) {
  std::set<std::string> names;
  for (const auto& entry : map)
    EXPECT_TRUE(names.insert(entry.first.as<std::string>()).second) << entry.first << " is there twice";
  return names;
}

/// Of a list of maps, the one with this name.
YAML::Node named(const YAML::Node& list, const std::string& name) {
  for (const auto& entry : list)
    if (entry["name"].as<std::string>() == name) return entry;
  ADD_FAILURE() << "no " << name;
  return YAML::Node(YAML::NodeType::Map);
}

std::vector<std::string> words(const YAML::Node& list) { return list.as<std::vector<std::string>>(); }

class MpiJob : public testing::Test {
 protected:
  YAML::Node pod(const std::string& kind) const { return spec["mpiReplicaSpecs"][kind]["template"]["spec"]; }
  YAML::Node container(const std::string& kind) const { return pod(kind)["containers"][0]; }
  const YAML::Node job = file("k8s/mpijob.yaml"), spec = job["spec"];
};

TEST_F(MpiJob, HasTheKeysOfV2beta1) {
  EXPECT_EQ(job["apiVersion"].as<std::string>(), "kubeflow.org/v2beta1");
  EXPECT_EQ(job["kind"].as<std::string>(), "MPIJob");
  EXPECT_THAT(keys(job), UnorderedElementsAre("apiVersion", "kind", "metadata", "spec"));
  EXPECT_THAT(keys(spec), UnorderedElementsAre("slotsPerWorker", "runPolicy", "sshAuthMountPath", "mpiImplementation",
                                               "mpiReplicaSpecs"));
  EXPECT_THAT(keys(spec["runPolicy"]), UnorderedElementsAre("cleanPodPolicy", "backoffLimit"));
  EXPECT_EQ(spec["mpiImplementation"].as<std::string>(), "OpenMPI");
  EXPECT_THAT(keys(spec["mpiReplicaSpecs"]), UnorderedElementsAre("Launcher", "Worker"));
  EXPECT_EQ(container("Launcher")["image"].as<std::string>(), container("Worker")["image"].as<std::string>());
}

TEST_F(MpiJob, StartsARankASlot) {
  const auto args = words(container("Launcher")["args"]);
  ASSERT_EQ(args.at(0), "-np");
  EXPECT_EQ(std::stoi(args.at(1)), spec["slotsPerWorker"].as<int>() * spec["mpiReplicaSpecs"]["Worker"]["replicas"].as<int>());
  EXPECT_EQ(words(container("Launcher")["command"]), std::vector<std::string>{"mpirun"});
}

TEST_F(MpiJob, WorkersHaveAnSshdAndRoomForSharedMemory) {
  EXPECT_THAT(words(container("Worker")["args"]), Contains(testing::HasSubstr("sshd -De")));
  const auto shm = named(pod("Worker")["volumes"], "shm")["emptyDir"];
  EXPECT_EQ(shm["medium"].as<std::string>(), "Memory");
  EXPECT_EQ(named(container("Worker")["volumeMounts"], "shm")["mountPath"].as<std::string>(), "/dev/shm");
  for (const auto& mount : container("Worker")["volumeMounts"])
    named(pod("Worker")["volumes"], mount["name"].as<std::string>());
}

TEST(SpackEnvironment, DevelopsTheCheckout) {
  const auto spack = file("spack/environments/spack.yaml")["spack"];
  EXPECT_THAT(keys(spack), UnorderedElementsAre("repos", "specs", "develop", "packages", "concretizer", "view"));
  EXPECT_EQ(words(spack["repos"]), std::vector<std::string>{".."});
  const auto checkout = spack["develop"]["fmtrain"]["path"].as<std::string>();
  EXPECT_TRUE(std::ifstream(std::string(FMTRAIN_SOURCE_DIR) + "/cluster/spack/environments/" + checkout + "/CMakeLists.txt"));
  EXPECT_EQ(spack["develop"]["fmtrain"]["spec"].as<std::string>(), std::string("fmtrain@=") + FMTRAIN_VERSION);
  EXPECT_THAT(words(spack["specs"]), Contains(std::string("fmtrain@") + FMTRAIN_VERSION));
}

TEST(SpackRepository, HasAName) { EXPECT_EQ(file("spack/repo.yaml")["repo"]["namespace"].as<std::string>(), "fmtrain"); }

}  // namespace
}  // namespace fmtrain
