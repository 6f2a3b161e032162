#include "runtime/report/tensorboard.h"

#include <unistd.h>

#include <bit>

#include "runtime/errors.h"
#include "runtime/hash.h"
#include "runtime/report/append_file.h"

namespace fmtrain {
namespace {

void put_fixed(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

/// Keys are (field number << 3 | wire type): 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes.
void put_bytes(std::string& out, char key, std::string_view bytes) {
  out += key;
  put_varint(out, bytes.size());
  out += bytes;
}

/// Event {1: wall_time, 2: step}; the rest is appended by the caller.
std::string event_head(double wall_time, int64_t step) {
  std::string out = "\x09";
  put_fixed(out, std::bit_cast<uint64_t>(wall_time), 8);
  if (step == 0) return out;  // proto3 leaves defaults out
  out += '\x10';
  put_varint(out, static_cast<uint64_t>(step));
  return out;
}

/// As TFRecord wants it: a CRC of data that holds CRCs is weak, so it is rotated and shifted.
uint32_t masked_crc(std::string_view data) { return std::rotr(crc32c(data.data(), data.size()), 15) + 0xa282ead8u; }

void add_if_number(Scalars& scalars, const std::string& tag, const Json& value) {
  if (value.is_number()) scalars.emplace_back(tag, value.get<double>());
}

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace

Scalars step_scalars(const Json& line) {
  Scalars scalars;
  for (const char* name : {"loss", "lr", "grad_norm"})
    if (line.contains(name)) add_if_number(scalars, std::string("train/") + name, line[name]);
  const double seconds = line.contains("seconds") ? line["seconds"].value("total", 0.0) : 0.0;
  if (seconds > 0) scalars.emplace_back("train/samples_per_s", line.at("samples").get<double>() / seconds);
  return scalars;
}

Scalars evaluation_scalars(const Json& line) {
  const std::string prefix = "eval/" + line.at("split").get<std::string>() + "/";
  Scalars scalars;
  add_if_number(scalars, prefix + "loss", line.at("loss"));
  for (const auto& [name, value] : line.at("metrics").items()) add_if_number(scalars, prefix + name, value);
  return scalars;
}

std::string tf_record(std::string_view data) {
  std::string out;
  put_fixed(out, data.size(), 8);
  put_fixed(out, masked_crc(out), 4);
  out += data;
  put_fixed(out, masked_crc(data), 4);
  return out;
}

std::string scalar_event(double wall_time, int64_t step, const Scalars& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    std::string entry;  // Summary.Value {1: tag, 2: simple_value (float)}
    put_bytes(entry, '\x0a', tag);
    entry += '\x15';
    put_fixed(entry, std::bit_cast<uint32_t>(static_cast<float>(value)), 4);
    put_bytes(summary, '\x0a', entry);
  }
  std::string event = event_head(wall_time, step);
  put_bytes(event, '\x2a', summary);  // 5: summary
  return event;
}

EventFile::EventFile(const std::string& dir, double wall_time, int64_t first_step)
    : path_(dir + "/events.out.tfevents." + std::to_string(static_cast<int64_t>(wall_time)) + "." + host_name() + "." +
            std::to_string(::getpid()) + ".fmtrain"),
      fd_(open_append(path_)) {
  std::string version = event_head(wall_time, 0);
  put_bytes(version, '\x1a', "brain.Event:2");  // 3: file_version
  append(version);
  std::string start = event_head(wall_time, first_step);
  put_bytes(start, '\x3a', "\x08\x01");  // 7: session_log {1: status = START}
  append(start);
}

EventFile::~EventFile() { ::close(fd_); }

void EventFile::add(double wall_time, int64_t step, const Scalars& scalars) {
  if (!scalars.empty()) append(scalar_event(wall_time, step, scalars));
}

void EventFile::append(const std::string& event) { append_all(fd_, tf_record(event), path_); }

}  // namespace fmtrain
