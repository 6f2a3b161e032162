#include "runtime/report/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/report/append_file.h"

namespace fmtrain {
namespace {

constexpr JsonLimits kLineLimits{1u << 20, 16};

double wall_time() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

/// The line as JSON, null when it is not an object.
Json parsed(const std::string& line) {
  try {
    Json json = parse_json(line, kLineLimits);
    return json.is_object() ? json : Json();
  } catch (const std::exception&) {
    return {};
  }
}

/// Bytes of `path` up to the end of its last whole line whose step is at most `last_step`.
int64_t bytes_through(const std::string& path, int64_t last_step) {
  std::ifstream file(path, std::ios::binary);
  int64_t at = 0, keep = 0;
  for (std::string line; std::getline(file, line) && !file.eof();) {  // eof: the line has no line feed
    at += static_cast<int64_t>(line.size()) + 1;
    const Json json = parsed(line);
    if (json.is_object() && json.contains("step") && json["step"].is_number_integer() && json["step"].get<int64_t>() <= last_step)
      keep = at;
  }
  return keep;
}

int open_log(const std::string& path, int64_t last_step) {
  const int fd = open_append(path);
  if (::ftruncate(fd, last_step == 0 ? 0 : bytes_through(path, last_step)) == 0) return fd;
  const int error = errno;
  ::close(fd);
  throw StorageError(path + ": cannot cut: " + std::strerror(error));
}

void sync_file(int fd, const std::string& path) {
  if (::fsync(fd) != 0) throw StorageError(path + ": cannot write to disk: " + std::strerror(errno));
}

Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json to_json(const ExitRecord& r) {
  return {{"code", r.code}, {"reason", r.reason}, {"rank", r.rank}, {"host", r.host}, {"phase", r.phase}, {"step", r.step}};
}

}  // namespace

std::string hex_float(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%a", value);
  return text;
}

Json to_json(const StepRecord& r) {
  Json line{{"step", r.step}, {"epoch", r.epoch}, {"loss", finite(r.loss)}, {"loss_hex", hex_float(r.loss)}, {"lr", r.lr},
            {"grad_norm", finite(r.grad_norm)}, {"samples", r.samples}, {"tokens", r.tokens},
            {"seconds",
             {{"total", r.total}, {"compute", r.compute}, {"communication", r.communication}, {"data", r.data},
              {"optimizer", r.optimizer}, {"other", r.total - r.compute - r.communication - r.data - r.optimizer}, {"waiting", r.waiting}}}};
  if (r.loss_scale) line["loss_scale"] = *r.loss_scale;
  return line;
}

RunLog::RunLog(std::string run_dir, int64_t last_step, bool tensorboard)
    : log_path_(run_dir + "/log.jsonl"), eval_path_(run_dir + "/eval.jsonl"), warnings_path_(run_dir + "/warnings.jsonl") {
  log_ = open_log(log_path_, last_step);
  try {
    eval_ = open_log(eval_path_, last_step);
    warnings_ = open_log(warnings_path_, last_step);
    if (tensorboard) events_ = std::make_unique<EventFile>(run_dir, wall_time(), last_step == 0 ? 0 : last_step + 1);
  } catch (...) {
    for (const int fd : {log_, eval_, warnings_})
      if (fd >= 0) ::close(fd);
    throw;
  }
}

RunLog::~RunLog() {
  for (const int fd : {log_, eval_, warnings_}) ::close(fd);
}

void RunLog::step(const StepRecord& record) {
  const Json line = to_json(record);
  append_all(log_, line.dump() + "\n", log_path_);
  if (events_) events_->add(wall_time(), record.step, step_scalars(line));
}

void RunLog::evaluation(const Json& line) {
  append_all(eval_, line.dump() + "\n", eval_path_);
  if (events_) events_->add(wall_time(), line.at("step").get<int64_t>(), evaluation_scalars(line));
}

void RunLog::warning(const Json& line) { append_all(warnings_, line.dump() + "\n", warnings_path_); }

void RunLog::sync() {
  sync_file(log_, log_path_);
  sync_file(eval_, eval_path_);
  sync_file(warnings_, warnings_path_);
}

std::vector<Json> read_jsonl(const std::string& path) {
  std::vector<Json> lines;
  std::ifstream file(path, std::ios::binary);
  for (std::string line; std::getline(file, line);)
    if (Json json = parsed(line); !json.is_null()) lines.push_back(std::move(json));
  return lines;
}

bool write_exit(const std::string& run_dir, const ExitRecord& record) noexcept try {
  const std::string path = run_dir + "/exit.json";
  const std::string mine = path + ".rank-" + std::to_string(record.rank);
  write_file_atomic(posix_files(), mine, to_json(record).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  bool first = ::link(mine.c_str(), path.c_str()) == 0;  // fails when the name exists, unlike rename
  if (!first && errno != EEXIST && ::access(path.c_str(), F_OK) != 0) first = ::rename(mine.c_str(), path.c_str()) == 0;
  ::unlink(mine.c_str());
  return first;
} catch (...) {
  return false;
}

void clear_exit(const std::string& run_dir) {
  std::error_code error;
  std::filesystem::remove(run_dir + "/exit.json", error);
  if (error) throw StorageError(run_dir + "/exit.json: cannot remove: " + error.message());
  std::vector<std::string> names;
  posix_files().list(run_dir, &names);
  for (const auto& name : names)
    if (name.starts_with("exit.json.rank-")) posix_files().unlink(run_dir + "/" + name);
}

}  // namespace fmtrain
