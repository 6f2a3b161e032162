// A registry in memory where that is possible, and model directories to put into it.
#pragma once
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <utility>

#include "runtime/continual/registry.h"
#include "runtime/errors.h"
#include "runtime/hash.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {

class RegistryTest : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    const auto memory = std::filesystem::path("/dev/shm") / folder_.filename();
    std::error_code error;
    std::filesystem::remove_all(memory, error);
    if (std::filesystem::create_directories(memory, error)) {
      remove_tree(posix_files(), folder_.string());
      folder_ = memory;
    }
    std::filesystem::create_directories(folder_ / "registry");
  }
  std::string model(const std::string& weights) const {
    std::filesystem::create_directories(folder_ / "model");
    write("model/model.safetensors", weights);
    write("model/config.json", "{\"layers\":2}");
    return path("model");
  }
  static std::string hash(const std::string& text) { return sha256_hex(text.data(), text.size()); }
  static Lineage lineage(int64_t version, int64_t parent = 0) {
    Lineage l;
    l.version = version;
    l.parent = parent;
    l.dataset_sha256 = hash("data");
    l.config_sha256 = hash("config");
    l.code_version = "1";
    l.seed = 18446744073709551615u;
    l.trigger = {{"kind", "drift"}};
    return l;
  }
  /// Adds `from`, challenges with it and promotes it, by a writer of its own.
  static void publish(Registry& registry, int64_t fence, const std::string& from, Lineage lineage, int64_t now = 1000) {
    RegistryWriter writer(registry, {fence, {}});
    const int64_t version = lineage.version;
    writer.add(from, std::move(lineage));
    writer.challenge(version, now);
    writer.promote(version, "better", now);
  }
  void clear() const {
    remove_tree(posix_files(), path("registry"));
    std::filesystem::create_directories(folder_ / "registry");
  }
  /// A process that did `action` and was killed.
  static void killed(const std::function<void()>& action) {
    const pid_t child = ::fork();
    if (child == 0) {
      action();
      ::kill(::getpid(), SIGKILL);
    }
    ::waitpid(child, nullptr, 0);
  }
  /// Exit code of what `action` throws; 0: nothing.
  static int code_of(const std::function<void()>& action, std::string* message = nullptr) {
    try {
      action();
    } catch (const Error& error) {
      if (message) *message = error.what();
      return static_cast<int>(error.code());
    }
    return 0;
  }

  Registry registry() const { return {posix_files(), path("registry")}; }
};

}  // namespace fmtrain
