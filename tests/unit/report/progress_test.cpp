#include "runtime/report/progress.h"

#include <gmock/gmock.h>

#include <sstream>

namespace fmtrain {
namespace {

struct Screen {
  double now = 100;
  std::ostringstream out;
  ProgressLine line(Progress style, int64_t total, int64_t first = 0, int columns = 100, double every = 10) {
    return {{style, every, columns}, total, first, [this] { return now; }, out};
  }
  std::string take() {
    std::string text = out.str();
    out.str("");
    return text;
  }
};

TEST(ProgressStyle, AutoIsABarOnATerminalThatCanEraseALine) {
  EXPECT_EQ(progress_style(Progress::kAuto, true, "xterm"), Progress::kBar);
  EXPECT_EQ(progress_style(Progress::kAuto, true, "dumb"), Progress::kPlain);
  EXPECT_EQ(progress_style(Progress::kAuto, true, ""), Progress::kPlain);
  EXPECT_EQ(progress_style(Progress::kAuto, false, "xterm"), Progress::kPlain);
  for (const auto mode : {Progress::kBar, Progress::kPlain, Progress::kOff}) EXPECT_EQ(progress_style(mode, false, ""), mode);
}

TEST(ClockText, MinutesAndHours) {
  EXPECT_EQ(clock_text(0), "0:00");
  EXPECT_EQ(clock_text(59.6), "1:00");
  EXPECT_EQ(clock_text(3599), "59:59");
  EXPECT_EQ(clock_text(3729), "1:02:09");
  for (const double unknown : {-1.0, 1e12, std::numeric_limits<double>::quiet_NaN()}) EXPECT_EQ(clock_text(unknown), "-:--");
}

TEST(ProgressLine, PlainPrintsEveryTenSecondsAndAtTheEnd) {
  Screen screen;
  auto line = screen.line(Progress::kPlain, 20);
  std::vector<std::string> lines;
  for (int64_t step = 1; step <= 20; ++step) {
    screen.now += 1.5;  // 32 samples in 1.5 s: 21.3 a second
    line.step(step, step / 10, 1.0 / static_cast<double>(step), 2e-4, 32);
    if (const auto text = screen.take(); !text.empty()) lines.push_back(text);
  }
  line.finish();
  EXPECT_EQ(screen.take(), "");  // the last step was shown already
  EXPECT_THAT(lines, testing::ElementsAre("step 7/20  epoch 1  loss 0.1429  lr 2.00e-04  21.3 samples/s  0:20 left\n",
                                          "step 14/20  epoch 2  loss 0.0714  lr 2.00e-04  21.3 samples/s  0:09 left\n",
                                          "step 20/20  epoch 3  loss 0.0500  lr 2.00e-04  21.3 samples/s  0:00 left\n"));
}

TEST(ProgressLine, ARunThatStopsEarlyStillShowsItsLastStep) {
  Screen screen;
  auto line = screen.line(Progress::kPlain, 100);
  screen.now += 1;
  line.step(1, 0, 2, 1e-3, 8);
  EXPECT_EQ(screen.take(), "");
  line.finish();
  EXPECT_EQ(screen.take(), "step 1/100  epoch 1  loss 2.0000  lr 1.00e-03  8.0 samples/s  1:39 left\n");
  line.finish();
  EXPECT_EQ(screen.take(), "");
}

TEST(ProgressLine, AResumedRunCountsItsOwnStepsOnly) {
  Screen screen;
  auto line = screen.line(Progress::kPlain, 1000, 900);
  screen.now += 10;
  line.step(910, 0, 1, 1, 100);
  EXPECT_THAT(screen.take(), testing::EndsWith("10.0 samples/s  1:30 left\n"));
}

TEST(ProgressLine, RatesFollowTheLastMinute) {
  Screen screen;
  auto line = screen.line(Progress::kPlain, 100000, 0, 100, 1e9);
  for (int64_t step = 1; step <= 200; ++step) screen.now += 10, line.step(step, 0, 1, 1, 10);       // 1 sample a second
  for (int64_t step = 201; step <= 320; ++step) screen.now += 1, line.step(step, 0, 1, 1, 10);      // then 10
  line.finish();
  EXPECT_THAT(screen.take(), testing::HasSubstr("  10.0 samples/s"));
}

TEST(ProgressLine, TheBarOverwritesItselfAndNeverWraps) {
  Screen screen;
  auto line = screen.line(Progress::kBar, 4, 0, 120);
  screen.now += 1;
  line.step(1, 0, 0.5, 1e-3, 8);
  EXPECT_EQ(screen.take(), "\r[======                  ]  25 %  step 1/4  epoch 1  loss 0.5000  lr 1.00e-03  8.0 samples/s  0:03 left\x1b[K");
  screen.now += 0.05;
  line.step(2, 0, 0.5, 1e-3, 8);
  EXPECT_EQ(screen.take(), "");  // at most ten times a second
  line.finish();
  EXPECT_THAT(screen.take(), testing::AllOf(testing::StartsWith("\r[============            ]  50 %"), testing::EndsWith("\x1b[K\n")));
  for (const int columns : {1, 20, 60, 80, 100}) {
    auto narrow = screen.line(Progress::kBar, 1, 0, columns);
    narrow.step(1, 0, 0.5, 1e-3, 8);
    const std::string text = screen.take();
    EXPECT_LE(text.size() - std::string("\r\x1b[K").size(), static_cast<size_t>(std::max(1, columns - 1)));
  }
}

TEST(ProgressLine, ALineThatStaysGoesAboveTheBar) {
  Screen screen;
  auto line = screen.line(Progress::kBar, 9, 0, 60);
  line.say("data 10 samples");
  EXPECT_EQ(screen.take(), "data 10 samples\n");
  screen.now += 1;
  line.step(1, 0, 1, 1, 1);
  const std::string bar = screen.take();
  line.say("validation F1 41.86");
  EXPECT_EQ(screen.take(), "\r\x1b[Kvalidation F1 41.86\n" + bar);
}

TEST(ProgressLine, OffIsSilent) {
  Screen screen;
  auto line = screen.line(Progress::kOff, 1);
  screen.now += 100;
  line.step(1, 0, 1, 1, 1);
  line.say("text");
  line.finish();
  EXPECT_EQ(screen.take(), "");
}

TEST(ProgressLine, NoTimeAndNoStepsAreNotDividedBy) {
  Screen screen;
  auto line = screen.line(Progress::kPlain, 0);
  line.step(0, 0, 0, 0, 0);
  EXPECT_EQ(screen.take(), "step 0/0  epoch 1  loss 0.0000  lr 0.00e+00  0.0 samples/s  -:-- left\n");
}

}  // namespace
}  // namespace fmtrain
