#include "runtime/data/encode_texts.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace fmtrain {
namespace {

constexpr size_t kTogether = 256;  ///< texts that a thread takes at a time; a file of fewer is not worth a second thread

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

void encode(const RawText& text, Task task, const Tokenizer& tokenizer, Encoding& memory, EncodedText& out) try {
  if (task == Task::kTokenClassification) tokenizer.encode_words(text.words, memory);
  else tokenizer.encode(text.text, memory);
  out.ids = memory.ids;
  out.words = memory.words;
} catch (...) {
  out.error = std::current_exception();
}

}  // namespace

std::vector<EncodedText> encode_texts(const std::vector<RawText>& texts, Task task, const Tokenizer& tokenizer, int threads) {
  std::vector<EncodedText> encoded(texts.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    Encoding memory;
    for (size_t first; (first = next.fetch_add(kTogether)) < texts.size();)
      for (size_t i = first; i < std::min(first + kTogether, texts.size()); ++i) encode(texts[i], task, tokenizer, memory, encoded[i]);
  };
  const auto wanted = static_cast<size_t>(threads > 0 ? threads : usable_cores());
  std::vector<std::jthread> others;
  while (others.size() + 1 < std::min(wanted, texts.size() / kTogether)) others.emplace_back(work);
  work();
  others.clear();  // waits for them
  return encoded;
}

}  // namespace fmtrain
