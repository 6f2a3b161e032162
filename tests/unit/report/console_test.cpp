#include "runtime/report/console.h"

#include <gtest/gtest.h>
#include <spdlog/logger.h>

#include <sstream>

namespace fmtrain {
namespace {

std::string said(int rank, bool over_bar = false) {
  std::ostringstream out;
  const auto console = make_console(rank, "node07", over_bar, out);
  console->debug("detail");
  console->info("data 10 samples");
  console->warn("slow disk");
  console->error("disk full");
  return out.str();
}

TEST(Console, RankZeroSpeaksPlainly) { EXPECT_EQ(said(0), "data 10 samples\nfmtrain: warning: slow disk\nfmtrain: disk full\n"); }

TEST(Console, OtherRanksOnlyWhenSomethingIsWrongAndSayWhoTheyAre) {
  EXPECT_EQ(said(3), "[rank 3 @node07] fmtrain: warning: slow disk\n[rank 3 @node07] fmtrain: disk full\n");
}

TEST(Console, ErasesABarFirst) {
  EXPECT_EQ(said(0, true), "\r\x1b[Kdata 10 samples\n\r\x1b[Kfmtrain: warning: slow disk\n\r\x1b[Kfmtrain: disk full\n");
}

TEST(Console, TextIsNotAFormat) {
  std::ostringstream out;
  const std::string text = "100 % of {} and %v %s";
  make_console(0, "h", false, out)->info(text);
  EXPECT_EQ(out.str(), text + "\n");
}

}  // namespace
}  // namespace fmtrain
