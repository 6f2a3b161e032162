#include "runtime/program_id.h"

#include <elf.h>
#include <link.h>

#include <cstring>

#include "runtime/hash.h"

namespace fmtrain {
namespace {

size_t note_padded(size_t bytes) { return (bytes + 3) / 4 * 4; }

/// The build id among the notes in `bytes`, "" if it is not there. A note: header, name, contents, each padded to 4 bytes.
std::string build_id(const char* bytes, size_t count) {
  ElfW(Nhdr) note;
  for (size_t at = 0; at + sizeof note <= count;) {
    std::memcpy(&note, bytes + at, sizeof note);
    const char* name = bytes + at + sizeof note;
    at += sizeof note + note_padded(note.n_namesz) + note_padded(note.n_descsz);
    if (at > count) break;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof "GNU" && std::memcmp(name, "GNU", sizeof "GNU") == 0)
      return hex_of(name + note_padded(note.n_namesz), note.n_descsz);
  }
  return "";
}

/// Of the first object, which is the program.
int look(dl_phdr_info* info, size_t, void* found) {
  auto& id = *static_cast<std::string*>(found);
  for (int i = 0; i < info->dlpi_phnum && id.empty(); ++i)
    if (const auto& part = info->dlpi_phdr[i]; part.p_type == PT_NOTE)
      id = build_id(reinterpret_cast<const char*>(info->dlpi_addr + part.p_vaddr), part.p_memsz);
  return 1;
}

}  // namespace

std::string program_id() {
  std::string id;
  ::dl_iterate_phdr(look, &id);
  return id.empty() ? sha256_file("/proc/self/exe") : id;
}

}  // namespace fmtrain
