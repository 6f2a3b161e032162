#include "runtime/scaling/compare.h"

#include <fmt/format.h>

#include <cmath>

#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/report/html.h"
#include "runtime/scaling/spread.h"
#include "runtime/scaling/measured_run.h"
#include "runtime/scaling/plain.h"

namespace fmtrain {
namespace {

constexpr size_t kLargestResult = 16u << 20, kRows = 10'000;
constexpr const char* kFigures[] = {"samples_per_s", "tokens_per_s", "step_s", "efficiency", "product_share", "slowest"};

[[noreturn]] void refuse(const std::string& where, const std::string& what) { throw DataError(where + ": " + what); }

const Json& member(const Json& json, const char* name, const std::string& where) {
  if (!json.is_object() || !json.contains(name)) refuse(where, std::string(name) + " is missing");
  return json.at(name);
}

int64_t whole(const Json& json, const char* name, int64_t least, int64_t most, const std::string& where) {
  const Json& value = member(json, name, where);
  const auto found = number(value);
  if (!value.is_number_integer() || !found || *found < static_cast<double>(least) || *found > static_cast<double>(most))
    refuse(where, std::string(name) + " is no whole number from " + std::to_string(least) + " to " + std::to_string(most));
  return value.get<int64_t>();
}

void check_interval(const Json& figure, const std::string& where) {
  double last = 0;
  for (const char* name : {"min", "median", "max"}) {
    const auto value = number(member(figure, name, where));
    if (!value || *value < 0 || *value > 1e30) refuse(where, std::string(name) + " is no number from 0 to 1e30");
    if (*value < last) refuse(where, "min, median and max are not in order");
    last = *value;
  }
}

void check_row(const Json& row, const std::string& where) {
  if (const Json& mode = member(row, "mode", where); mode != "strong" && mode != "weak")
    refuse(where, "mode is neither strong nor weak");
  whole(row, "ranks", 1, 1 << 24, where);
  if (!member(row, "oversubscribed", where).is_boolean()) refuse(where, "oversubscribed is neither true nor false");
  for (const char* name : kFigures)
    if (const Json& figure = member(row, name, where); std::string_view(name) != "efficiency" || !figure.is_null())
      check_interval(figure, where + "." + name);
  for (const char* part : kStepParts)
    check_interval(member(member(row, "seconds", where), part, where + ".seconds"), where + ".seconds." + part);
}

void check_scaling(const Json& all, const std::string& path) {
  if (!all.is_object() || all.value("kind", Json()) != "fmtrain scaling")
    refuse(path, "is no result of `fmtrain bench scaling`");
  if (member(all, "version", path) != 1) refuse(path, "is of another version; this program reads version 1");
  const Json& plan = member(all, "plan", path);
  whole(plan, "repetitions", 1, 100, path + ": plan");
  for (const char* name : {"config", "computation"})
    if (!member(plan, name, path + ": plan").is_string()) refuse(path + ": plan", std::string(name) + " is no text");
  const Json& rows = member(all, "rows", path);
  if (!rows.is_array() || rows.size() > kRows) refuse(path, "rows is no list of at most " + std::to_string(kRows));
  for (size_t i = 0; i < rows.size(); ++i) check_row(rows[i], path + ": rows[" + std::to_string(i) + "]");
  if (!member(all, "machine", path).is_object()) refuse(path, "machine is no object");
}

void add_setup(Json& setups, const std::string& what, const Json& a, const Json& b) {
  if (a != b) setups.push_back({{"what", what}, {"a", clipped(a.dump(), 400)}, {"b", clipped(b.dump(), 400)}});
}

/// What differs in two objects, one level deep.
void add_setups(Json& setups, const std::string& of, const Json& a, const Json& b) {
  for (const auto& [name, value] : a.items()) add_setup(setups, of + "." + name, value, field(b, {name.c_str()}));
  for (const auto& [name, value] : b.items())
    if (!a.contains(name)) add_setup(setups, of + "." + name, Json(), value);
}

Json figure_json(const Json& a, const Json& b) {
  const auto interval = [](const Json& json) {
    return Spread{json.at("median").get<double>(), json.at("min").get<double>(), json.at("max").get<double>()};
  };
  const Spread x = interval(a), y = interval(b);
  return {{"a", a}, {"b", b}, {"ratio", x.median > 0 ? Json(y.median / x.median) : Json()}, {"changed", apart(x, y)}};
}

Json row_json(const Json& a, const Json& b) {
  Json row{{"mode", a.at("mode")},
           {"ranks", a.at("ranks")},
           {"in", "both"},
           {"oversubscribed", a.at("oversubscribed").get<bool>() || b.at("oversubscribed").get<bool>()},
           {"figures", Json::object()}};
  for (const char* name : kFigures)
    if (a.at(name).is_object() && b.at(name).is_object()) row["figures"][name] = figure_json(a.at(name), b.at(name));
  for (const char* part : kStepParts)
    row["figures"]["seconds." + std::string(part)] = figure_json(a.at("seconds").at(part), b.at("seconds").at(part));
  return row;
}

const Json* same_row(const Json& rows, const Json& wanted) {
  for (const Json& row : rows)
    if (row.at("mode") == wanted.at("mode") && row.at("ranks") == wanted.at("ranks")) return &row;
  return nullptr;
}

Json lone_row(const Json& row, const char* in) {
  return {{"mode", row.at("mode")},
          {"ranks", row.at("ranks")},
          {"in", in},
          {"oversubscribed", row.at("oversubscribed")},
          {"figures", Json::object()}};
}

bool trains_the_same(const Json& a, const Json& b) {
  for (const char* name : {"computation", "global", "micro", "steps", "warmup"})
    if (field(a, {name}) != field(b, {name})) return false;
  return true;
}

double median_of(const Json& figure, const char* side) { return number(field(figure, {side, "median"})).value_or(0); }

std::string figure_text(const std::string& name, const Json& f) {
  const auto side = [&](const char* which) {
    const double scale = std::fabs(median_of(f, which)) < 1 ? 1e3 : 1;
    const auto value = [&](const char* of) { return scale * number(field(f, {which, of})).value_or(0); };
    return fmt::format("{:10.4g} ({:.4g}-{:.4g}){}", value("median"), value("min"), value("max"), scale > 1 ? "e-3" : "");
  };
  const auto ratio = number(field(f, {"ratio"}));
  return fmt::format("  {:24} {:34} {:34} {:>7}  {}\n", name, side("a"), side("b"),
                     ratio ? fmt::format("{:.3f}x", *ratio) : "-",
                     field(f, {"changed"}) == true ? "changed" : "within the noise");
}

std::string row_head(const Json& row) {
  std::string text = fmt::format("{} scaling, {} ranks", plain(field(row, {"mode"})), plain(field(row, {"ranks"})));
  if (field(row, {"oversubscribed"}) == true) text += " (oversubscribed: no scaling)";
  if (const std::string in = plain(field(row, {"in"})); in != "both") text += ": only in " + in;
  return text + "\n";
}

}  // namespace

Json read_scaling(const std::string& path) {
  Json all;
  try {
    all = parse_json(read_file(posix_files(), path, kLargestResult, Links::kRefuse), {kLargestResult, 16});
  } catch (const StorageError&) {
    throw;
  } catch (const std::runtime_error& error) {
    refuse(path, error.what());
  }
  check_scaling(all, path);
  return all;
}

Json compare_scaling(const Json& a, const Json& b, const std::string& name_a, const std::string& name_b) {
  Json all{{"version", 1}, {"kind", "fmtrain scaling comparison"}, {"names", {name_a, name_b}}, {"setups", Json::array()}};
  add_setups(all["setups"], "plan", a.at("plan"), b.at("plan"));
  add_setups(all["setups"], "machine", a.at("machine"), b.at("machine"));
  all["comparable"] = trains_the_same(a.at("plan"), b.at("plan"));
  all["chance"] = chance_apart(a.at("plan").at("repetitions").get<int>(), b.at("plan").at("repetitions").get<int>());
  all["rows"] = Json::array();
  for (const Json& row : a.at("rows")) {
    const Json* other = same_row(b.at("rows"), row);
    all["rows"].push_back(other ? row_json(row, *other) : lone_row(row, "a"));
  }
  for (const Json& row : b.at("rows"))
    if (!same_row(a.at("rows"), row)) all["rows"].push_back(lone_row(row, "b"));
  return all;
}

std::string comparison_text(const Json& comparison) {
  std::string text =
      fmt::format("a: {}\nb: {}\n", plain(field(comparison, {"names"})[0], 300), plain(field(comparison, {"names"})[1], 300));
  for (const Json& setup : field(comparison, {"setups"}))
    text += fmt::format("differs: {}: {} | {}\n", plain(field(setup, {"what"})), quoted(setup.at("a").get<std::string>()),
                        quoted(setup.at("b").get<std::string>()));
  if (field(comparison, {"comparable"}) != true)
    text += "The two did not train the same (see plan above): only shares and efficiencies can be put beside each other.\n";
  text += fmt::format(
      "changed: every repetition of one side is above every one of the other; by chance alone {:.1f} % of the figures are.\n\n",
      100 * number(field(comparison, {"chance"})).value_or(1));
  for (const Json& row : field(comparison, {"rows"})) {
    text += row_head(row);
    for (const auto& [name, f] : field(row, {"figures"}).items()) text += figure_text(name, f);
  }
  return text;
}

}  // namespace fmtrain
