// The registry: what it keeps, what it refuses, and that kills, faults and races leave it whole.
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <new>

#include "runtime/continual/sealed_json.h"
#include "runtime/continual/stored_files.h"
#include "runtime/run_lock.h"
#include "tests/support/fail_files.h"
#include "tests/unit/continual/registry_folder.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> actions(const Registry& registry) {
  std::vector<std::string> found;
  for (const auto& record : registry.audit()) found.push_back(record.action + " " + version_name(record.version));
  return found;
}

TEST_F(RegistryTest, KeepsVersionsAliasesAndWhereTheyComeFrom) {
  Registry r = registry();
  EXPECT_EQ(r.aliases().champion, 0);
  publish(r, 1, model("one"), lineage(1));
  publish(r, 2, model("two"), lineage(2, 1));
  EXPECT_EQ(r.aliases().champion, 2);
  EXPECT_EQ(r.aliases().previous, 1);
  EXPECT_EQ(r.aliases().fence, 2);
  EXPECT_THAT(r.versions(), ElementsAre(1, 2));
  EXPECT_EQ(content("registry/versions/000001/model.safetensors"), "one");
  const Lineage l = r.lineage(2);
  EXPECT_EQ(l.parent, 1);
  EXPECT_EQ(l.seed, 18446744073709551615u);
  EXPECT_EQ(l.trigger, (Json{{"kind", "drift"}}));
  EXPECT_EQ(l.dataset_sha256, hash("data"));
  EXPECT_THAT(l.files, ElementsAre(testing::Field(&StoredFile::name, "config.json"),
                                   testing::Field(&StoredFile::name, "model.safetensors")));
  EXPECT_EQ(l.files[1].sha256, hash("two"));
  EXPECT_THAT(actions(r), ElementsAre("challenge 000001", "promote 000001", "challenge 000002", "promote 000002"));
  EXPECT_EQ(code_of([&] { r.lineage(3); }), 2);
  EXPECT_EQ(RegistryWriter(r, {2, {}}).next_version(), 3);
}

TEST_F(RegistryTest, RollbackRestoresTheExactFilesWithinASecond) {
  Registry r = registry();
  publish(r, 1, model(std::string(32 << 20, 'a')), lineage(1));
  const std::string before = sha256_file(r.verified(1) + "/model.safetensors");
  publish(r, 1, model(std::string(32 << 20, 'b')), lineage(2, 1));
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(RegistryWriter(r, {2, {}}).rollback(2, "errors in production", 2000), 1);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  EXPECT_LT(took.count(), 1);
  EXPECT_EQ(r.aliases().champion, 1);
  EXPECT_EQ(r.aliases().previous, 2);
  EXPECT_EQ(sha256_file(r.verified(r.aliases().champion) + "/model.safetensors"), before);
  EXPECT_EQ(r.audit().back().action, "rollback");
  EXPECT_EQ(r.audit().back().reason, "errors in production");
}

TEST_F(RegistryTest, NoRollbackWithoutAPreviousChampion) {
  Registry r = registry();
  publish(r, 1, model("one"), lineage(1));
  EXPECT_EQ(code_of([&] { RegistryWriter(r, {1, {}}).rollback(1, "", 1); }), 2);
}

TEST_F(RegistryTest, EveryChangedByteIsRefused) {
  Registry r = registry();
  publish(r, 1, model("some weights"), lineage(1));
  publish(r, 1, model("newer weights"), lineage(2, 1));
  for (const char* name : {"model.safetensors", "config.json", "lineage.json"}) {
    const std::string file = std::string("registry/versions/000001/") + name, whole = content(file);
    for (size_t i = 0; i < whole.size(); ++i) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ 1);
      write(file, changed);
      std::string message;
      EXPECT_EQ(code_of([&] { r.verified(1); }, &message), 4) << name << " byte " << i;
      EXPECT_THAT(message, HasSubstr(name));
      if (i == 0) {
        EXPECT_EQ(code_of([&] { RegistryWriter(r, {1, {}}).rollback(2, "", 1); }), 4);
      }
    }
    write(file, whole.substr(0, whole.size() - 1));
    EXPECT_EQ(code_of([&] { r.verified(1); }), 4) << name;
    write(file, whole);
    EXPECT_EQ(code_of([&] { r.verified(1); }), 0) << name;
  }
  const std::string whole = content("registry/aliases.json");
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    write("registry/aliases.json", changed);
    EXPECT_EQ(code_of([&] { r.aliases(); }), 4) << i;
  }
}

TEST_F(RegistryTest, FilesThatAreMissingAddedOrLinksAreRefused) {
  Registry r = registry();
  publish(r, 1, model("one"), lineage(1));
  write("registry/versions/000001/extra.bin", "x");
  EXPECT_EQ(code_of([&] { r.verified(1); }), 4);
  std::filesystem::remove(path("registry/versions/000001/extra.bin"));
  std::filesystem::rename(path("registry/versions/000001/config.json"), path("elsewhere"));
  EXPECT_EQ(code_of([&] { r.verified(1); }), 4);
  std::filesystem::create_symlink(path("elsewhere"), path("registry/versions/000001/config.json"));
  EXPECT_EQ(code_of([&] { r.verified(1); }), 5);
  std::filesystem::create_directories(folder_ / "nested/inside");
  RegistryWriter writer(r, {1, {}});
  EXPECT_NE(code_of([&] { writer.add(path("nested"), lineage(2)); }), 0);
  EXPECT_THAT(r.versions(), ElementsAre(1));
}

TEST_F(RegistryTest, AVersionIsWrittenOnce) {
  Registry r = registry();
  RegistryWriter writer(r, {1, {}});
  writer.add(model("one"), lineage(1));
  writer.add(model("changed"), lineage(1));  // repeated after a kill: the version stays
  EXPECT_EQ(content("registry/versions/000001/model.safetensors"), "one");
  auto other = lineage(1);
  other.code_version = "2";
  EXPECT_EQ(code_of([&] { writer.add(path("model"), other); }), 2);
}

TEST_F(RegistryTest, ALowerFenceWritesNothing) {
  Registry r = registry();
  RegistryWriter slow(r, {5, {}});
  slow.add(model("one"), lineage(1));
  publish(r, 6, model("two"), lineage(2));
  const std::string before = content("registry/aliases.json");
  EXPECT_EQ(code_of([&] { slow.promote(1, "", 1); }), 9);
  EXPECT_EQ(code_of([&] { slow.add(path("model"), lineage(3)); }), 9);
  EXPECT_EQ(code_of([&] { RegistryWriter(r, {5, {}}); }), 9);
  EXPECT_EQ(content("registry/aliases.json"), before);
  std::string message;
  EXPECT_EQ(code_of(
                [&] {
                  RegistryWriter(r, {7, [](std::string* why) {
                                       *why = "taken over";
                                       return false;
                                     }});
                },
                &message),
            9);
  EXPECT_EQ(message, "taken over");
}

TEST_F(RegistryTest, OldWeightsGoAndTheirCardsStay) {
  Registry r = registry();
  for (int64_t v = 1; v <= 6; ++v) publish(r, 1, model(std::to_string(v)), lineage(v, v - 1));
  RegistryWriter writer(r, {1, {}});
  writer.add(model("rejected"), lineage(7, 6));
  writer.challenge(7, 5);
  writer.reject(7, "worse", 5);
  EXPECT_THAT(writer.prune(), ElementsAre(1, 2, 7));
  EXPECT_THAT(r.versions(), ElementsAre(3, 4, 5, 6));
  EXPECT_EQ(r.lineage(1).files[1].sha256, hash("1"));
  EXPECT_EQ(r.lineage(7).parent, 6);
  EXPECT_EQ(code_of([&] { r.verified(1); }), 2);
  EXPECT_EQ(writer.next_version(), 8);  // numbers are not used twice
  EXPECT_EQ(writer.rollback(6, "", 6), 5);
}

/// A writer that is killed before any of its calls: whole versions only, and the next one finishes to the same aliases and
/// audit.
TEST_F(RegistryTest, KilledAtEveryCall) {
  Registry first = registry();
  const std::string from = model("two");
  for (int64_t call = 1, clean = 0; !clean; ++call) {
    ASSERT_LT(call, 400);
    clear();
    publish(first, 1, model("one"), lineage(1));
    model("two");
    killed([&] {
      FailFiles files;
      files.interrupt_at(call, [] { ::kill(::getpid(), SIGKILL); });
      Registry r(files, path("registry"));
      publish(r, 2, from, lineage(2, 1));
      write("finished", "");
    });
    clean = std::filesystem::exists(path("finished"));
    const int64_t champion = first.aliases().champion;
    EXPECT_EQ(code_of([&] { first.verified(champion); }), 0) << call;
    publish(first, 3, from, lineage(2, 1));
    EXPECT_EQ(first.aliases().champion, 2) << call;
    EXPECT_EQ(first.aliases().previous, 1) << call;
    EXPECT_THAT(actions(first), ElementsAre("challenge 000001", "promote 000001", "challenge 000002", "promote 000002"))
        << call;
    std::vector<std::string> names;
    posix_files().list(path("registry/versions"), &names);
    EXPECT_THAT(names, ElementsAre("000001", "000002")) << call;
  }
}

TEST_F(RegistryTest, EveryCallFails) {
  Registry whole = registry();
  const std::string from = model("two");
  for (int64_t call = 1, clean = 0; !clean; ++call) {
    ASSERT_LT(call, 400);
    clear();
    publish(whole, 1, model("one"), lineage(1));
    model("two");
    FailFiles files;
    files.fail_at(call, EIO);
    Registry r(files, path("registry"));
    const int code = code_of([&] { publish(r, 2, from, lineage(2, 1)); });
    clean = !files.failed();
    EXPECT_TRUE(code == 5 || code == 0) << call << ": " << code;
    EXPECT_EQ(files.open_files(), 0) << call;
    EXPECT_EQ(code_of([&] { whole.verified(whole.aliases().champion); }), 0) << call;
    publish(whole, 3, from, lineage(2, 1));
    EXPECT_EQ(whole.aliases().champion, 2) << call;
    EXPECT_EQ(whole.audit().size(), 4u) << call;
  }
}

/// Two runners start at once, 100 times: one publishes, the other ends with exit code 9.
TEST_F(RegistryTest, HundredRacesHaveOneWinner) {
  struct Round {
    std::atomic<int> ready{0}, done{0}, winners{0}, locked{0};
  };
  void* memory = ::mmap(nullptr, sizeof(Round), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const std::string from = model("weights");
  for (int64_t version = 1; version <= 100; ++version) {
    auto* round = new (memory) Round;
    for (int runner = 0; runner < 2; ++runner) {
      if (::fork()) continue;
      ++round->ready;
      while (round->ready < 2) ::sched_yield();
      const int code = code_of([&] {
        RunLock lock(posix_files(), path("registry"), this_process("here", "", 0));
        Registry r = registry();
        RegistryWriter writer(r, {lock.generation(), [&](std::string* why) { return lock.still_mine(why); }});
        writer.add(from, lineage(version));
        writer.promote(version, std::to_string(runner), version);
        ++round->winners;
        ++round->done;
        while (round->done < 2) ::sched_yield();
      });
      if (code == 9) ++round->locked;
      if (code) ++round->done;
      ::_exit(0);
    }
    while (::wait(nullptr) > 0) {
    }
    ASSERT_EQ(round->winners, 1) << version;
    ASSERT_EQ(round->locked, 1) << version;
  }
  ::munmap(memory, sizeof(Round));
  const Registry r = registry();
  EXPECT_EQ(r.audit().size(), 100u);
  EXPECT_EQ(r.aliases().champion, 100);
  EXPECT_EQ(r.aliases().fence, 100);
}

TEST(SealedJson, FindsDamageAndForeignMembers) {
  const std::string text = seal({{"a", 1}, {"b", "x"}});
  EXPECT_EQ(unseal(text), (Json{{"a", 1}, {"b", "x"}}));
  EXPECT_THROW(unseal(text.substr(1)), std::runtime_error);
  EXPECT_THROW(unseal(""), std::runtime_error);
  EXPECT_THROW(require_members(unseal(text), {"a"}), std::runtime_error);
  EXPECT_THROW(require_members(unseal(text), {"a", "b", "c"}), std::runtime_error);
  EXPECT_NO_THROW(require_members(unseal(text), {"b", "a"}));
}

TEST(Lineage, WrongMembersAreRefused) {
  Lineage l;
  l.version = 1;
  l.dataset_sha256 = l.config_sha256 = std::string(64, 'a');
  l.files = {{"a", std::string(64, 'b'), 1}, {"c", std::string(64, 'b'), 1}};
  const Json right = unseal(print_lineage(l));
  EXPECT_EQ(parse_lineage(right).files, l.files);
  const auto refused = [&](const char* member, const Json& value) {
    Json changed = right;
    changed[member] = value;
    EXPECT_THROW(parse_lineage(changed), std::runtime_error) << member << " " << value.dump();
  };
  for (const char* seed : {"", "x", "1x", "-1", "18446744073709551616"}) refused("seed", seed);
  refused("version", 0);
  refused("version", 1'000'000);
  refused("parent", -1);
  refused("dataset_sha256", "");
  refused("base_sha256", "A");
  refused("files", {{{"name", "../a"}, {"bytes", 1}, {"sha256", std::string(64, 'b')}}});
  refused("files", Json::array({right.at("files")[1], right.at("files")[0]}));
  refused("more", 1);
}

TEST(Lineage, NamesThatLeaveTheDirectoryAreRefused) {
  for (const char* name : {"", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\nb"})
    EXPECT_FALSE(is_plain_name(name)) << name;
  EXPECT_FALSE(is_plain_name(std::string(256, 'a')));
  EXPECT_TRUE(is_plain_name("model.safetensors"));
  EXPECT_EQ(version_of("000123"), 123);
  for (const char* name : {"123", "0000123", "00012x", "", "000000", "-00001"}) EXPECT_EQ(version_of(name), 0) << name;
}

}  // namespace
}  // namespace fmtrain
