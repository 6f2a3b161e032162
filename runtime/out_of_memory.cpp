#include "runtime/out_of_memory.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>

#include "runtime/ledger.h"

namespace fmtrain {
namespace {

std::string mebibytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

std::string held_text(const Ledger& held) {
  std::string text;
  for (size_t i = 0; i < held.size(); ++i)
    if (held[i].now > 0) text += (text.empty() ? "" : ", ") + std::string(kPurposeNames[i]) + " " + mebibytes(held[i].now);
  return text;
}

/// What LibTorch says of a GPU's memory: one sentence a fact, the first two hold the need and the room.
std::string first_sentences(const std::string& message) {
  size_t end = 0;
  for (int i = 0; i < 2 && end != std::string::npos; ++i) end = message.find(". ", end + 1);
  return message.substr(0, std::min(end, message.find('\n')));
}

/// The largest divisor of `global` that is at most half of `micro`.
int64_t smaller_micro(int64_t global, int64_t micro) {
  int64_t half = micro / 2;
  while (global % half != 0) --half;
  return half;
}

/// Equal bits come first, then a smaller leaf, which has others.
std::string advice(const Config& config, int64_t micro) {
  std::string text;
  if (config.engine.recompute.layers == 0) text = "set engine.recompute: full (same result, a third more computing)";
  if (config.batch.micro > 1)
    text += (text.empty() ? "set" : ", or") + std::string(" batch.micro: ") + std::to_string(micro > 0 ? micro : smaller_micro(config.batch.global, config.batch.micro)) + " instead of " +
            std::to_string(config.batch.micro) + " (other bits: with another run.dir)";
  if (config.engine.zero == 0)
    text += (text.empty() ? "set" : ", or") + std::string(" engine.zero: 1 or higher where there are several ranks");
  return text.empty() ? "start fewer ranks a host, or use hosts with more memory" : text;
}

}  // namespace

bool is_out_of_memory(const std::exception& error) {
  return dynamic_cast<const std::bad_alloc*>(&error) || dynamic_cast<const c10::OutOfMemoryError*>(&error) ||
         std::strstr(error.what(), "DefaultCPUAllocator: ");
}

int64_t fitting_micro(const MemoryNeeds& needs, const FitSetting& now, int64_t limit) {
  const Shortage last = shortage();
  if (last.bytes > 0) {
    int64_t held = predict(needs, now).process + last.bytes - 1;
    for (const auto& purpose : last.held) held += purpose.now;
    limit = limit > 0 ? std::min(limit, held) : held;
  }
  if (limit <= 0) return 0;
  const int64_t failed = predict(needs, now).total();  // whatever it says of leaves of that size, they did not fit
  const int64_t micro = largest_micro(needs, now, std::min(limit, failed - 1));
  return micro < now.micro ? micro : 0;
}

std::string out_of_memory_text(const std::exception& error, const Config& config, int64_t micro) {
  const Shortage last = shortage();
  std::string text = "out of memory";
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error)) text += " on the GPU: " + first_sentences(error.what());
  else if (last.bytes > 0) text += ": " + mebibytes(last.bytes) + " more were needed";
  if (const auto held = held_text(last.bytes > 0 ? last.held : ledger()); !held.empty()) text += "; the tensors of this rank held " + held;
  return text + "; " + advice(config, micro);
}

Json ledger_json() {
  const Shortage last = shortage();
  const Ledger held = last.bytes > 0 ? last.held : ledger();
  Json json = Json::object();
  for (size_t i = 0; i < held.size(); ++i) json[kPurposeNames[i]] = {{"now", held[i].now}, {"peak", held[i].peak}};
  if (last.bytes > 0) json["asked"] = last.bytes;
  return json;
}

}  // namespace fmtrain
