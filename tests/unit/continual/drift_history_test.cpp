// What counts as two windows in a row, and that the record of it is not to be changed.
#include <gmock/gmock.h>

#include "runtime/continual/drift_history.h"
#include "tests/unit/continual/registry_folder.h"

namespace fmtrain {
namespace {

class DriftHistoryTest : public RegistryTest {
 protected:
  void add(int64_t champion, int64_t first, int64_t last, bool drifted) {
    Registry r = registry();
    make_directories(r);
    add_drift_record(r, {++time_, champion, 1000, first, last, std::string(64, 'a'), drifted ? 0.002 : 0.4, 1.5, drifted, false,
                         drifted ? "suspected" : "none"});
  }
  bool before(int64_t champion, int64_t first, int64_t consecutive = 2) {
    return drifted_before(drift_history(registry()), champion, first, consecutive);
  }
  int64_t time_ = 1'700'000'000;
};

TEST_F(DriftHistoryTest, OneWindowIsEnoughWhereOneIsAskedFor) {
  EXPECT_FALSE(before(1, 4));
  EXPECT_TRUE(before(1, 4, 1));
}

TEST_F(DriftHistoryTest, TheWindowBeforeMustHaveDrifted) {
  add(1, 4, 5, true);
  EXPECT_TRUE(before(1, 6));
  add(1, 6, 7, false);
  EXPECT_FALSE(before(1, 8));
}

/// The same texts tested twice are no second window, however often `check` is called.
TEST_F(DriftHistoryTest, WindowsThatShareABatchAreOne) {
  add(1, 4, 5, true);
  EXPECT_FALSE(before(1, 5));
  add(1, 5, 6, true);
  EXPECT_TRUE(before(1, 6));  // the first of the two
  EXPECT_FALSE(before(1, 6, 3));
  EXPECT_TRUE(before(1, 7));
}

TEST_F(DriftHistoryTest, AnotherChampionBeginsAnew) {
  add(1, 4, 5, true);
  EXPECT_FALSE(before(2, 6));
}

TEST_F(DriftHistoryTest, ThreeInARow) {
  add(1, 1, 2, true);
  add(1, 3, 4, true);
  EXPECT_TRUE(before(1, 5, 3));
  EXPECT_FALSE(before(1, 5, 4));
}

TEST_F(DriftHistoryTest, ARepeatedCheckAddsNoLine) {
  add(1, 1, 2, true);
  add(1, 1, 2, true);
  EXPECT_EQ(drift_history(registry()).size(), 1u);
}

TEST_F(DriftHistoryTest, AChangedByteIsNamed) {
  add(1, 1, 2, true);
  add(1, 3, 4, false);
  const std::string whole = content("registry/drift.jsonl");
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    write("registry/drift.jsonl", changed);
    std::string message;
    EXPECT_EQ(code_of([&] { drift_history(registry()); }, &message), 4) << i;
    EXPECT_THAT(message, testing::HasSubstr("drift.jsonl: line")) << i;
  }
}

}  // namespace
}  // namespace fmtrain
