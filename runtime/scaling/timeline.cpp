#include "runtime/scaling/timeline.h"

#include <algorithm>

#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/report/html.h"
#include "runtime/scaling/plain.h"

namespace fmtrain {
namespace {

constexpr size_t kLargestTimeline = 1u << 20, kBuckets = 4096;
constexpr double kMost = 1e15;
constexpr int64_t kWork = 1 << 20;  ///< leaves times buckets: what one replayed update walks through

struct Member {
  const char* name;
  double Timeline::*value;
};
constexpr Member kMembers[] = {{"forward_s", &Timeline::forward},
                               {"backward_s", &Timeline::backward},
                               {"optimizer_s", &Timeline::optimizer},
                               {"other_s", &Timeline::other},
                               {"jitter_s", &Timeline::jitter},
                               {"parameters", &Timeline::parameters},
                               {"parameter_bytes", &Timeline::parameter_bytes},
                               {"samples", &Timeline::samples},
                               {"tokens", &Timeline::tokens},
                               {"rest_bytes", &Timeline::rest}};

/// Refuses what is no number from `least` to `most`.
double checked(const Json& json, const char* name, double least, double most, const std::string& where) {
  const auto value = number(field(json, {name}));
  if (!value || *value < least || *value > most)
    throw DataError(where + ": " + name + " is no number from " + plain(Json(least)) + " to " + plain(Json(most)));
  return *value;
}

std::vector<Bucket> read_buckets(const Json& list, const std::string& path) {
  if (!list.is_array() || list.size() > kBuckets)
    throw DataError(path + ": buckets is no list of at most " + std::to_string(kBuckets));
  std::vector<Bucket> buckets;
  double ready = 0;
  for (const Json& one : list) {
    const std::string where = path + ": buckets[" + std::to_string(buckets.size()) + "]";
    ready = checked(one, "ready", ready, 1, where);
    buckets.push_back({checked(one, "bytes", 0, kMost, where), ready});
  }
  return buckets;
}

bool on_cpu(const Json& device, const std::string& path) {
  if (device.is_null() || device == "gpu") return false;
  if (device != "cpu") throw DataError(path + ": device is neither cpu nor gpu");
  return true;
}

Timeline timeline_in(const Json& json, const std::string& path) {
  if (field(json, {"kind"}) != "fmtrain timeline" || field(json, {"version"}) != 1)
    throw DataError(path + ": is no timeline of version 1; `fmtrain bench simulate --record` writes one");
  Timeline t;
  t.name = plain(field(json, {"name"}));
  t.source = plain(field(json, {"source"}), 600);
  t.ranks = static_cast<int>(checked(json, "ranks", 0, 1 << 20, path));
  t.threads = static_cast<int>(checked(json, "threads", 1, 1 << 20, path));
  t.cores = static_cast<int>(checked(json, "cores", 0, 1 << 20, path));
  t.leaves = static_cast<int64_t>(checked(json, "leaves", 1, 1 << 20, path));
  for (const auto& [name, value] : kMembers) t.*value = checked(json, name, 0, kMost, path);
  t.on_cpu = on_cpu(field(json, {"device"}), path);
  t.buckets = read_buckets(field(json, {"buckets"}), path);
  if (t.leaves * std::max<int64_t>(1, std::ssize(t.buckets)) > kWork)
    throw DataError(path + ": leaves times buckets is more than " + std::to_string(kWork));
  return t;
}

}  // namespace

double Timeline::gradient_bytes() const {
  double sum = rest;
  for (const Bucket& bucket : buckets) sum += bucket.bytes;
  return sum;
}

Json to_json(const Timeline& t) {
  Json json{{"version", 1},     {"kind", "fmtrain timeline"}, {"name", t.name},   {"source", t.source},
            {"ranks", t.ranks}, {"threads", t.threads},       {"cores", t.cores}, {"leaves", t.leaves}};
  for (const auto& [name, value] : kMembers) json[name] = t.*value;
  json["device"] = t.on_cpu ? "cpu" : "gpu";
  json["buckets"] = Json::array();
  for (const Bucket& bucket : t.buckets) json["buckets"].push_back({{"bytes", bucket.bytes}, {"ready", bucket.ready}});
  return json;
}

Timeline read_timeline(const std::string& path) {
  const std::string text = read_file(posix_files(), path, kLargestTimeline, Links::kRefuse);
  try {
    return timeline_in(parse_json(text, {kLargestTimeline, 16}), path);
  } catch (const Error&) {
    throw;
  } catch (const std::runtime_error& error) {
    throw DataError(path + ": " + error.what());
  }
}

Timeline with_buckets(const Timeline& timeline, double bytes) {
  if (bytes <= 0 || timeline.buckets.empty()) return timeline;
  Timeline t = timeline;
  t.buckets.clear();
  double open = 0;  // bytes of the bucket that is being filled
  for (Bucket left : timeline.buckets) {
    while (open + left.bytes >= bytes && t.buckets.size() < kBuckets) {
      t.buckets.push_back({bytes, left.ready});
      left.bytes -= bytes - open;
      open = 0;
    }
    open += left.bytes;
  }
  if (open > 0) t.buckets.push_back({open, timeline.buckets.back().ready});
  return t;
}

}  // namespace fmtrain
