// A registry with a store of texts, and a folder of incoming files.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "runtime/continual/text_store.h"
#include "runtime/hash.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {

class StoreFolder : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    std::filesystem::create_directories(folder_ / "registry");
  }
  TextStore labels(FileOps& files = posix_files()) const { return {files, path("registry"), Task::kSequenceClassification}; }
  TextStore tags(FileOps& files = posix_files()) const { return {files, path("registry"), Task::kTokenClassification}; }
  void incoming(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / "incoming" / name).parent_path());
    write("incoming/" + name, text);
  }
  TextStore::Taken take(TextStore store, int64_t now = 1000) const {
    return store.take(path("incoming"), Format::kAuto, {}, now);
  }

  /// A base training set, and what came in since.
  void fill(TextStore store) const {
    write("train.csv", "text,label\nred,colour\nblue,colour\n");
    store.add(TextRole::kTrain, path("train.csv"), Format::kAuto, {}, "", 500);
    incoming("1.jsonl", "{\"text\":\"green\",\"label\":\"colour\"}\n");
    incoming("2.csv", "text,label\nseven,number\neight,number\n");
    incoming("unlabelled/3.txt", "what is this\n");
    take(store);
  }
  void clear_registry() const {
    remove_tree(posix_files(), path("registry"));
    std::filesystem::create_directories(folder_ / "registry");
  }
  /// Content of every file below a folder, by name.
  std::map<std::string, std::string> all_files(const std::string& below) const {
    std::map<std::string, std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / below))
      if (entry.is_regular_file()) {
        const auto name = std::filesystem::relative(entry.path(), folder_).string();
        found[name] = content(name);
      }
    return found;
  }
  static std::vector<std::string> names(const std::vector<StoredBatch>& batches) {
    std::vector<std::string> found;
    for (const auto& batch : batches) found.push_back(batch.file);
    return found;
  }
  static std::multiset<std::string> sources(const TextStore& store) {
    std::multiset<std::string> found;
    for (const auto& batch : store.batches()) found.insert(batch.source_sha256);
    return found;
  }
};

}  // namespace fmtrain
