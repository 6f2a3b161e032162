// The registry after kills, rollbacks and losses: steps repeat, records stay readable, and only what is known goes.
#include <gmock/gmock.h>

#include "tests/support/fail_files.h"
#include "tests/unit/continual/recorded_files.h"
#include "tests/unit/continual/registry_folder.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Killed after its last change of aliases, before its cycle was saved as published; an operator rolls back; it runs again.
TEST_F(RegistryTest, ARepeatedPublishLeavesWhatARollbackChanged) {
  Registry r = registry();
  publish(r, 1, model("one"), lineage(1));
  publish(r, 2, model("two"), lineage(2, 1));
  RegistryWriter(r, {3, {}}).rollback(2, "errors in production", 2000);
  publish(r, 4, model("two"), lineage(2, 1));
  EXPECT_EQ(r.aliases().champion, 1);
  EXPECT_EQ(r.aliases().challenger, 0);
  EXPECT_EQ(r.aliases().last.action, "rollback");
  EXPECT_EQ(r.audit().size(), 5u);
}

TEST_F(RegistryTest, ARepeatedRejectionLeavesWhatARollbackChanged) {
  Registry r = registry();
  publish(r, 1, model("one"), lineage(1));
  publish(r, 2, model("two"), lineage(2, 1));
  const auto rejected = [&](int64_t fence) {
    RegistryWriter writer(r, {fence, {}});
    writer.add(model("three"), lineage(3, 2));
    writer.challenge(3, 1000);
    writer.reject(3, "worse", 1000);
  };
  rejected(3);
  RegistryWriter(r, {4, {}}).rollback(2, "errors in production", 2000);
  rejected(5);
  EXPECT_EQ(r.aliases().challenger, 0);
  EXPECT_EQ(r.audit().back().action, "rollback");
}

/// A rollback killed at any call and repeated leaves the champion once.
TEST_F(RegistryTest, ARollbackCanBeRepeated) {
  Registry r = registry();
  for (int64_t call = 1, clean = 0; !clean; ++call) {
    ASSERT_LT(call, 100);
    clear();
    publish(r, 1, model("one"), lineage(1));
    publish(r, 2, model("two"), lineage(2, 1));
    killed([&] {
      FailFiles files;
      files.interrupt_at(call, [] { ::kill(::getpid(), SIGKILL); });
      Registry other(files, path("registry"));
      RegistryWriter(other, {3, {}}).rollback(2, "errors in production", 2000);
      write("finished", "");
    });
    clean = std::filesystem::exists(path("finished"));
    EXPECT_EQ(RegistryWriter(r, {4, {}}).rollback(2, "errors in production", 3000), 1) << call;
    EXPECT_EQ(r.aliases().champion, 1) << call;
    EXPECT_EQ(r.aliases().previous, 2) << call;
    EXPECT_EQ(r.audit().size(), 5u) << call;
  }
  EXPECT_EQ(code_of([&] { RegistryWriter(r, {4, {}}).rollback(3, "", 1); }), 2);
  EXPECT_EQ(RegistryWriter(r, {4, {}}).rollback(1, "it was the data", 4000), 2);
  EXPECT_EQ(r.audit().size(), 6u);
}

TEST_F(RegistryTest, ALongReasonIsCutBetweenCharacters) {
  Registry r = registry();
  publish(r, 1, model("one"), lineage(1));
  RegistryWriter writer(r, {1, {}});
  int64_t version = 1;
  std::string euros;
  for (int i = 0; i < 2000; ++i) euros += "\xE2\x82\xAC";
  for (const std::string& reason : {euros, "a" + euros, "ab" + euros, std::string(9000, '\xBF'), std::string(1024, 'x')}) {
    writer.add(model("another"), lineage(++version));
    writer.promote(version, reason, 1000);
    ASSERT_EQ(code_of([&] { r.aliases(); }), 0) << version;
    EXPECT_EQ(r.aliases().last, r.audit().back());
    const std::string kept = r.audit().back().reason;
    EXPECT_GE(kept.size(), 1021u);
    if (version != 5) {  // that one is no text
      EXPECT_EQ(kept, reason.substr(0, kept.size()));
    }
  }
}

TEST_F(RegistryTest, AChangeThatCouldNotBeReadAgainIsNotMade) {
  Registry r = registry();
  publish(r, 1, model("one"), lineage(1));
  RegistryWriter writer(r, {1, {}});
  writer.add(model("two"), lineage(2, 1));
  const std::string before = content("registry/aliases.json");
  EXPECT_EQ(code_of([&] { writer.promote(2, "", -1); }), 2);  // a clock before 1970
  EXPECT_EQ(content("registry/aliases.json"), before);
  EXPECT_EQ(r.aliases().champion, 1);
}

TEST_F(RegistryTest, AVersionThatCouldNotBeReadAgainIsNotAdded) {
  Registry r = registry();
  RegistryWriter writer(r, {1, {}});
  auto deep = lineage(1);
  for (int i = 0; i < 20; ++i) deep.gate = {{"deeper", deep.gate}};
  EXPECT_EQ(code_of([&] { writer.add(model("one"), deep); }), 2);
  auto unknown = lineage(1);
  unknown.dataset_sha256 = "";
  EXPECT_EQ(code_of([&] { writer.add(model("one"), unknown); }), 2);
  write("model/\xFF.txt", "x");
  EXPECT_EQ(code_of([&] { writer.add(path("model"), lineage(1)); }), 2);
  EXPECT_THAT(r.versions(), IsEmpty());
}

TEST_F(RegistryTest, LostAliasesAreNoNewRegistry) {
  Registry r = registry();
  RegistryWriter(r, {1, {}}).add(model("one"), lineage(1));  // killed before its challenge
  EXPECT_EQ(r.aliases().champion, 0);
  publish(r, 2, model("one"), lineage(1));
  const std::string whole = content("registry/aliases.json");
  const auto lost = [&] {
    std::string message;
    EXPECT_EQ(code_of([&] { r.aliases(); }, &message), 4);
    EXPECT_THAT(message, HasSubstr("aliases.json: missing"));
    EXPECT_EQ(code_of([&] { RegistryWriter(r, {3, {}}); }), 4);
  };
  std::filesystem::remove(path("registry/aliases.json"));
  lost();
  std::filesystem::rename(path("registry/audit.jsonl"), path("audit.jsonl"));
  lost();  // there are versions
  std::filesystem::rename(path("audit.jsonl"), path("registry/audit.jsonl"));
  std::filesystem::rename(path("registry/versions"), path("versions"));
  lost();  // there is an audit
  std::filesystem::rename(path("versions"), path("registry/versions"));
  write("registry/aliases.json", whole);
  EXPECT_EQ(r.aliases().champion, 1);
}

TEST_F(RegistryTest, NothingIsRemovedWithoutAChampion) {
  Registry r = registry();
  RegistryWriter writer(r, {1, {}});
  writer.add(model("one"), lineage(1));
  EXPECT_EQ(code_of([&] { writer.prune(); }), 2);
  EXPECT_THAT(r.versions(), ElementsAre(1));
}

TEST_F(RegistryTest, LeftoversOfWritersGoAndTheFilesOfOthersStay) {
  Registry r = registry();
  publish(r, 1, model("one"), lineage(1));
  std::filesystem::create_directories(path("registry/cycles/000001"));
  const std::string random = ".tmp-0123456789abcdef";
  const std::vector<std::string> ours{"aliases.json" + random,      "audit.jsonl" + random,
                                      "cards/000001.json" + random, "versions/.tmp-000002/model",
                                      "versions/.del-000003/model"},
      others{"lock.json" + random,   "notes.tmp-1",      "aliases.json.tmp-mine",    "aliases.json.tmp-0123456789ABCDEF",
             "versions/.tmp-mine/x", "versions/.del-me", "versions/000001" + random, "cards/notes.json" + random,
             ".del-000004",          "drift.jsonl" + random, "cycles/000001/state.json" + random};  // a cycle may go on meanwhile
  for (const auto* names : {&ours, &others})
    for (const auto& name : *names) {
      std::filesystem::create_directories(std::filesystem::path(path("registry/" + name)).parent_path());
      write("registry/" + name, "x");
    }
  RegistryWriter(r, {2, {}});
  for (const auto& name : ours) EXPECT_FALSE(std::filesystem::exists(path("registry/" + name))) << name;
  for (const auto& name : others) EXPECT_TRUE(std::filesystem::exists(path("registry/" + name))) << name;
}

/// A power loss keeps a name only after a sync of its directory.
TEST_F(RegistryTest, NamesAreSyncedBeforeWhatDependsOnThem) {
  RecordedFiles files;
  Registry r(files, path("registry"));
  for (int64_t v = 1; v <= 3; ++v) publish(r, 1, model(std::to_string(v)), lineage(v, v - 1));
  const std::string versions = path("registry/versions");
  const auto made = files.from("make " + path("registry/texts"));
  ASSERT_GE(made.size(), 2u);
  EXPECT_EQ(made[1], "sync " + path("registry"));
  EXPECT_THAT(RegistryWriter(r, {1, {}}).prune(0), ElementsAre(1));
  const auto removed = files.from("rename " + versions + "/000001");
  ASSERT_GE(removed.size(), 3u);
  EXPECT_EQ(removed[1], "sync " + versions);
  EXPECT_THAT(removed[2], HasSubstr("unlink " + versions + "/.del-000001/"));
}

}  // namespace
}  // namespace fmtrain
