// Records of a registry with some thousand changes each, the same ones in every run: what is sealed is refused when any byte
// differs, and what a parser takes says again what it was read from. Nothing ends in another exception or a crash.
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <random>
#include <stdexcept>

#include "runtime/continual/aliases.h"
#include "runtime/continual/cycle.h"
#include "runtime/continual/lineage.h"
#include "runtime/continual/sealed_json.h"

namespace fmtrain {
namespace {

using Random = std::mt19937_64;
constexpr JsonLimits kLimits{size_t{1} << 20, 16};

AuditRecord audit() { return {7, 1'767'225'600, "promote", 4, 12, "better on the rolling set \xC3\xA9"}; }

Aliases aliases() { return {4, 3, 5, 12, {1, 3, 4}, audit()}; }

Lineage lineage() {
  const auto hash = [](char c) { return std::string(64, c); };
  return {4,
          3,
          hash('a'),
          hash('b'),
          "",
          hash('c'),
          "0.1.0",
          UINT64_MAX,
          {{"kind", "drift"}, {"p", 0.002}},
          {{"verdict", "promote"}},
          nullptr,
          {{"config.json", hash('d'), 512}, {"model.safetensors", hash('e'), 90'000'000}}};
}

CycleState cycle() {
  CycleState state{3, CycleStage::kDecided, 5, 12, 1'767'225'600, {}};
  state.records = {{"triggered", {{"kind", "manual"}}},
                   {"data-frozen", {{"fresh", 1200}, {"hash", std::string(64, 'f')}}},
                   {"trained", {{"gpu_hours", 0.25}}},
                   {"evaluated", Json::object()},
                   {"decided", {{"verdict", "reject"}, {"reasons", {"worse on the core set"}}}}};
  return state;
}

// ---- changes -----------------------------------------------------------------------------------------

size_t below(Random& random, size_t n) { return random() % n; }

/// One to four bytes changed, left out, put in, or a stretch written twice.
std::string damaged(std::string text, Random& random) {
  static constexpr std::string_view kTelling = "{}[]\",:\\0123456789-+.eEtfn\0\xff\x80 ";
  for (size_t changes = 1 + below(random, 4); changes > 0; --changes) {
    const size_t at = below(random, text.size());
    const char c = random() % 2 ? kTelling[below(random, kTelling.size())] : static_cast<char>(random());
    switch (below(random, 5)) {
      case 0:
        text[at] = c;
        break;
      case 1:
        text.erase(at, 1 + below(random, 8));
        break;
      case 2:
        text.insert(at, 1, c);
        break;
      case 3:
        text.insert(at, text.substr(below(random, text.size()), below(random, 40)));
        break;
      default:
        text[at] = static_cast<char>(text[at] ^ (1 << below(random, 8)));
    }
    if (text.empty()) text = "{";
  }
  return text;
}

std::vector<Json> hostile_values() {
  Json deep = 1;
  for (int i = 0; i < 10; ++i) deep = Json::array({deep});
  return {nullptr,
          true,
          0,
          1,
          -1,
          0.5,
          1e300,
          INT64_MAX,
          INT64_MIN,
          UINT64_MAX,
          "",
          "000001",
          "000000",
          "1000000",
          "00001x",
          "../000001",
          "promote",
          "published",
          std::string(64, 'a'),
          std::string(64, 'A'),
          std::string(5000, 'x'),
          "\xC3\xA9\n",
          Json::array(),
          Json::object(),
          Json::array({1}),
          {{"sha256", 1}},
          Json::array({"000001", "000001"}),
          deep};
}

/// The value `steps` places into the tree, in the order of a walk.
Json* nth(Json& at, size_t& steps) {
  if (steps-- == 0) return &at;
  if (at.is_structured())
    for (auto& part : at)
      if (Json* found = nth(part, steps)) return found;
  return nullptr;
}

size_t places(const Json& at) {
  size_t count = 1;
  if (at.is_structured())
    for (const auto& part : at) count += places(part);
  return count;
}

/// A member or element replaced, left out, renamed or added.
Json bent(Json record, Random& random) {
  static const auto values = hostile_values();
  size_t steps = below(random, places(record));
  Json& at = *nth(record, steps);
  const Json& value = values[below(random, values.size())];
  const size_t way = below(random, 6);
  if (at.is_object() && !at.empty() && way == 0)
    at.erase(std::next(at.items().begin(), static_cast<int64_t>(below(random, at.size()))).key());
  else if (at.is_object() && way == 1) at["unknown"] = value;
  else if (at.is_array() && way < 3) at.push_back(at.empty() || way == 1 ? value : at[below(random, at.size())]);
  else if (at.is_array() && !at.empty() && way == 3) at.erase(below(random, at.size()));
  else at = value;
  return record;
}

// ---- what must hold ----------------------------------------------------------------------------------

/// True when it was taken. Any other exception than a std::runtime_error fails the test, for it is caught nowhere.
bool takes(const std::function<void()>& parse) {
  try {
    parse();
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

void expect_refused(const std::string& text, const std::string& original) {
  EXPECT_EQ(takes([&] { unseal(text); }), text == original) << text;
}

TEST(MutatedRecords, NoChangedByteOfASealedOneIsTaken) {
  for (const std::string& original :
       {print_aliases(aliases()), print_lineage(lineage()), print_cycle(cycle()), seal({{"a", 1}})}) {
    ASSERT_TRUE(takes([&] { unseal(original); }));
    Random random(1);
    for (size_t at = 0; at < original.size(); ++at) {
      std::string text = original;
      for (int bit = 0; bit < 8; ++bit) {
        text[at] = static_cast<char>(original[at] ^ (1 << bit));
        expect_refused(text, original);
      }
      expect_refused(original.substr(0, at), original);
      expect_refused(original.substr(at + 1), original);
      expect_refused(original.substr(0, at) + static_cast<char>(random()) + original.substr(at), original);
    }
    for (int i = 0; i < 3000; ++i) expect_refused(damaged(original, random), original);
  }
  // Sealed by somebody who means it: a second seal inside, nothing inside, depth, bytes that are no UTF-8.
  const auto resealed = [](const std::string& text) {
    std::string sealed = seal(Json{{"a", 1}});
    const std::string mark = ",\"sha256\":\"";
    return text + mark + sealed.substr(sealed.find(mark) + mark.size());
  };
  EXPECT_TRUE(takes([&] { unseal(resealed("{\"a\":1")); }));
  for (const std::string& text : {std::string("{\"a\":1,\"sha256\":\"\""), std::string("["), std::string("")})
    EXPECT_FALSE(takes([&] { unseal(resealed(text)); }));
}

/// Of what `parse` takes of records bent at random, `print` gives the same again when it is read and printed a second time.
template <class Parse, class Print>
void expect_stable(const Json& whole, Parse parse, Print print, bool sealed) {
  Random random(2);
  const auto read = [&](const std::string& text) { return parse(sealed ? unseal(text) : parse_json(text, kLimits)); };
  int taken = 0, refused = 0;
  for (int i = 0; i < 4000; ++i) {
    Json record = whole;
    for (size_t changes = 1 + below(random, 2); changes > 0; --changes) record = bent(record, random);
    const std::string text = record.dump();
    std::optional<decltype(parse(whole))> found;
    const bool good = takes([&] { found = parse(parse_json(text, kLimits)); });
    if (good) {
      const std::string once = print(*found);  // may not throw
      EXPECT_EQ(print(read(once)), once) << text;
    }
    ++(good ? taken : refused);
  }
  EXPECT_GT(taken, 40);
  EXPECT_GT(refused, 1000);
}

TEST(MutatedRecords, WhatIsTakenSaysTheSameAgain) {
  expect_stable(unseal(print_aliases(aliases())), parse_aliases, print_aliases, true);
  expect_stable(parse_json(print_audit(audit()), kLimits), parse_audit, print_audit, false);
  expect_stable(unseal(print_lineage(lineage())), parse_lineage, print_lineage, true);
  const auto print = [](const CycleState& state) {
    Cycles::history({state});  // reads of the records what parse_cycle promised
    return print_cycle(state);
  };
  expect_stable(unseal(print_cycle(cycle())), parse_cycle, print, true);
}

TEST(MutatedRecords, DamagedLinesOfTheAuditAreRefusedOrRead) {
  const std::string line = print_audit(audit());
  Random random(3);
  int taken = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string text = damaged(line, random);
    taken += takes([&] {
      const AuditRecord record = parse_audit(parse_json(text, kLimits));
      EXPECT_EQ(parse_audit(parse_json(print_audit(record), kLimits)), record) << text;
    });
  }
  EXPECT_GT(taken, 100);  // in a reason or a number most changes are as good as what was there
  EXPECT_LT(taken, 10000);
}

}  // namespace
}  // namespace fmtrain
