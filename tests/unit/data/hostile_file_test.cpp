// Prepared files that are damaged or made to deceive: refused with a message that names the file, or read as the same data. Each
// is read in a process of its own, so that a crash or a hang of the HDF5 library is seen as one.
#include <gmock/gmock.h>
#include <hdf5.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "runtime/data/dataset_file.h"
#include "runtime/errors.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

DatasetFile tagging_data() {
  DatasetFile data;
  data.info.labels = {"O", "B-X", "I-X"};
  data.info.tokenizer_sha256 = std::string(64, '1');
  data.info.source_sha256 = std::string(64, '2');
  data.info.max_length = 16;
  data.info.texts = 40;
  for (int32_t s = 0; s < 50; ++s) {
    for (int32_t t = 0; t < 5 + s % 7; ++t) data.tokens.push_back(100 * s + t);
    data.offsets.push_back(static_cast<int64_t>(data.tokens.size()));
    data.texts.push_back(std::min(s, 39));
    data.word_gold.insert(data.word_gold.end(), {s % 3, 0, 2});
    data.word_token.insert(data.word_token.end(), {1, -1, 3});
    data.word_offsets.push_back(static_cast<int64_t>(data.word_gold.size()));
  }
  return data;
}

DatasetFile labelled_data() {
  DatasetFile data = tagging_data();
  data.info.task = Task::kSequenceClassification;
  data.info.labels = {"yes", "no"};
  data.word_gold.clear();
  data.word_token.clear();
  data.word_offsets = {0};
  for (int32_t s = 0; s < 50; ++s) data.labels.push_back(s % 2);
  return data;
}

bool same(const DatasetFile& a, const DatasetFile& b) {
  const auto& x = a.info;
  const auto& y = b.info;
  return x.task == y.task && x.labels == y.labels && x.tokenizer_sha256 == y.tokenizer_sha256 &&
         x.source_sha256 == y.source_sha256 && x.max_length == y.max_length && x.texts == y.texts && a.tokens == b.tokens &&
         a.offsets == b.offsets && a.texts == b.texts && a.word_offsets == b.word_offsets && a.word_gold == b.word_gold &&
         a.word_token == b.word_token && a.labels == b.labels;
}

constexpr int kSame = 10, kRefused = 11, kOther = 12, kWrongError = 13;

/// What reading `path` leads to in a process of its own; anything else is a crash, a hang, or more than 512 MiB of memory.
int outcome(const std::string& path, const DatasetFile& expected) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(10);
    try {
      _exit(same(read_dataset_file(path), expected) ? kSame : kOther);
    } catch (const DataError& error) {
      _exit(std::string(error.what()).starts_with(path + ": ") ? kRefused : kWrongError);
    } catch (...) {
      _exit(kWrongError);
    }
  }
  int status = 0;
  rusage used{};
  wait4(child, &status, 0, &used);
  if (!WIFEXITED(status)) return -WTERMSIG(status);
  return used.ru_maxrss > (512 << 10) ? -1000 : WEXITSTATUS(status);
}

class HostileFile : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    for (const auto& [name, data] : {std::pair{"tagging.h5", tagging_data()}, {"labelled.h5", labelled_data()}})
      write_dataset_file(data, path(name));
  }
  std::string message(const std::string& name) {
    try {
      read_dataset_file(path(name));
      return "accepted";
    } catch (const DataError& error) {
      const std::string what = error.what(), prefix = path(name) + ": ";
      EXPECT_EQ(what.substr(0, prefix.size()), prefix);
      return what.substr(std::min(prefix.size(), what.size()));
    }
  }
};

TEST_F(HostileFile, TheWholeFileReadsBack) {
  EXPECT_TRUE(same(read_dataset_file(path("tagging.h5")), tagging_data()));
  EXPECT_TRUE(same(read_dataset_file(path("labelled.h5")), labelled_data()));
  EXPECT_FALSE(same(tagging_data(), labelled_data()));
}

TEST_F(HostileFile, FlippedBitsAreRefusedOrWithoutEffect) {
  int refused = 0, flips = 0;
  for (const auto& [name, data] : {std::pair{"tagging.h5", tagging_data()}, {"labelled.h5", labelled_data()}}) {
    const std::string good = content(name);
    for (size_t i = 0; i < 200; ++i, ++flips) {
      std::string bad = good;
      const size_t at = i * good.size() / 200 + i % 7;
      bad[at] = static_cast<char>(bad[at] ^ (1 << (i % 8)));
      write("flipped.h5", bad);
      const int result = outcome(path("flipped.h5"), data);
      EXPECT_THAT(result, testing::AnyOf(kSame, kRefused)) << name << ": bit " << i % 8 << " of byte " << at;
      refused += result == kRefused;
    }
  }
  EXPECT_EQ(flips, 400);
  EXPECT_GT(refused, 50);
}

TEST_F(HostileFile, TruncatedFilesAreRefused) {
  const std::string good = content("tagging.h5");
  for (size_t i = 0; i < 60; ++i) {
    const size_t bytes = i < 10 ? i : i * good.size() / 60;
    write("short.h5", good.substr(0, bytes));
    EXPECT_EQ(outcome(path("short.h5"), tagging_data()), kRefused) << bytes;
  }
  write("long.h5", good + std::string(1000, 'x'));
  EXPECT_THAT(outcome(path("long.h5"), tagging_data()), testing::AnyOf(kSame, kRefused));
}

TEST_F(HostileFile, WhatIsNotHdf5) {
  write("text.h5", "a\tO\n");
  write("empty.h5", "");
  std::filesystem::create_directories(path("folder.h5"));
  EXPECT_EQ(message("text.h5"), "is not an HDF5 file, or is damaged");
  EXPECT_EQ(message("empty.h5"), "is not an HDF5 file, or is damaged");
  EXPECT_EQ(message("missing.h5"), "cannot open: No such file or directory");
  EXPECT_THAT(message("folder.h5"), testing::StartsWith("cannot open: "));
}

/// Properties for a new data set.
struct Properties {
  hid_t list = H5Pcreate(H5P_DATASET_CREATE);
  ~Properties() { H5Pclose(list); }
};

/// Put a data set of `n` elements, all zero, in the place of `name`.
void replace(hid_t file, const char* name, hid_t type, std::vector<hsize_t> dims, hid_t list = H5P_DEFAULT,
             const void* values = nullptr) {
  H5Ldelete(file, name, H5P_DEFAULT);
  const hid_t space =
      dims.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr);
  const hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
  EXPECT_GE(set, 0) << name;
  if (values) {
    EXPECT_GE(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
  }
  H5Dclose(set);
  H5Sclose(space);
}

constexpr hsize_t kSamples = 50;

void chunked(hid_t file, const std::function<void(hid_t)>& filter, hsize_t chunk = kSamples) {
  const Properties properties;
  H5Pset_chunk(properties.list, 1, &chunk);
  filter(properties.list);
  const auto texts = tagging_data().texts;
  replace(file, "texts", H5T_STD_I32LE, {kSamples}, properties.list, texts.data());
}

struct Bent {
  const char* message;
  std::function<void(hid_t)> bend;
};

const std::vector<Bent> kBent{
    {"accepted", [](hid_t) {}},
    {"accepted",
     [](hid_t f) {
       replace(f, "extra", H5T_IEEE_F64LE, {3, 3});
     }},  // nothing else is opened
    {"accepted", [](hid_t f) { chunked(f, [](hid_t) {}); }},
    {"data set tokens: missing", [](hid_t f) { H5Ldelete(f, "tokens", H5P_DEFAULT); }},
    {"data set word_token: missing", [](hid_t f) { H5Ldelete(f, "word_token", H5P_DEFAULT); }},
    {"data set description: missing", [](hid_t f) { H5Ldelete(f, "description", H5P_DEFAULT); }},
    {"data set tokens: is a link, not a data set",
     [](hid_t f) {
       H5Lmove(f, "tokens", f, "hidden", H5P_DEFAULT, H5P_DEFAULT);
       H5Lcreate_soft("/hidden", f, "tokens", H5P_DEFAULT, H5P_DEFAULT);
     }},
    {"data set tokens: is a link, not a data set",
     [](hid_t f) {
       H5Ldelete(f, "tokens", H5P_DEFAULT);
       H5Lcreate_external("labelled.h5", "/tokens", f, "tokens", H5P_DEFAULT, H5P_DEFAULT);
     }},
    {"data set tokens: cannot be opened",
     [](hid_t f) {
       H5Ldelete(f, "tokens", H5P_DEFAULT);
       H5Gclose(H5Gcreate2(f, "tokens", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
     }},
    {"data set texts: holds another type than little-endian int32",
     [](hid_t f) { replace(f, "texts", H5T_STD_I64LE, {kSamples}); }},
    {"data set texts: holds another type than little-endian int32",
     [](hid_t f) { replace(f, "texts", H5T_STD_I32BE, {kSamples}); }},
    {"data set texts: holds another type than little-endian int32",
     [](hid_t f) { replace(f, "texts", H5T_STD_U32LE, {kSamples}); }},
    {"data set texts: holds another type than little-endian int32",
     [](hid_t f) { replace(f, "texts", H5T_IEEE_F32LE, {kSamples}); }},
    {"data set texts: holds another type than little-endian int32",
     [](hid_t f) {
       const hid_t text = H5Tcopy(H5T_C_S1);
       H5Tset_size(text, H5T_VARIABLE);
       replace(f, "texts", text, {kSamples});
       H5Tclose(text);
     }},
    {"data set texts: holds another type than little-endian int32",
     [](hid_t f) {
       const hid_t narrow = H5Tcopy(H5T_STD_I32LE);
       H5Tset_precision(narrow, 20);
       replace(f, "texts", narrow, {kSamples});
       H5Tclose(narrow);
     }},
    {"data set description: holds another type than little-endian uint8",
     [](hid_t f) { replace(f, "description", H5T_STD_I8LE, {5}); }},
    {"data set texts: is not one-dimensional",
     [](hid_t f) {
       replace(f, "texts", H5T_STD_I32LE, {kSamples, 1});
     }},
    {"data set texts: is not one-dimensional", [](hid_t f) { replace(f, "texts", H5T_STD_I32LE, {}); }},
    {"data set texts: has a storage layout that is not accepted",
     [](hid_t f) {
       const Properties compact;
       H5Pset_layout(compact.list, H5D_COMPACT);
       replace(f, "texts", H5T_STD_I32LE, {kSamples}, compact.list);
     }},
    {"data set texts: has a storage layout that is not accepted",
     [](hid_t f) {
       const Properties external;
       H5Pset_external(external.list, "/etc/passwd", 0, 4 * kSamples);
       replace(f, "texts", H5T_STD_I32LE, {kSamples}, external.list);
     }},
    {"data set texts: has a storage layout that is not accepted",
     [](hid_t f) {
       const Properties virtual_set;
       const hsize_t n = kSamples;
       const hid_t space = H5Screate_simple(1, &n, nullptr);
       H5Pset_virtual(virtual_set.list, space, "labelled.h5", "texts", space);
       H5Sclose(space);
       replace(f, "texts", H5T_STD_I32LE, {kSamples}, virtual_set.list);
     }},
    {"data set texts: uses a filter that is not accepted",
     [](hid_t f) { chunked(f, [](hid_t list) { H5Pset_deflate(list, 6); }); }},
    {"data set texts: uses a filter that is not accepted",
     [](hid_t f) { chunked(f, [](hid_t list) { H5Pset_shuffle(list); }); }},
    {"data set texts: claims 4611686018427387904 elements, more than the file can hold",
     [](hid_t f) {
       const Properties properties;
       const hsize_t chunk = 100, dims = hsize_t{1} << 62;
       H5Pset_chunk(properties.list, 1, &chunk);
       replace(f, "texts", H5T_STD_I32LE, {dims}, properties.list);
     }},
    {"data set texts: has chunks larger than the file",
     [](hid_t f) {
       const Properties properties;
       const hsize_t chunk = hsize_t{1} << 29, dims = kSamples, most = H5S_UNLIMITED;
       H5Pset_chunk(properties.list, 1, &chunk);
       H5Ldelete(f, "texts", H5P_DEFAULT);
       const hid_t space = H5Screate_simple(1, &dims, &most);
       H5Dclose(H5Dcreate2(f, "texts", H5T_STD_I32LE, space, H5P_DEFAULT, properties.list, H5P_DEFAULT));
       H5Sclose(space);
     }},
};

TEST_F(HostileFile, StructuresThatAreNotAccepted) {
  for (size_t i = 0; i < kBent.size(); ++i) {
    std::filesystem::copy_file(path("tagging.h5"), path("bent.h5"), std::filesystem::copy_options::overwrite_existing);
    const hid_t file = H5Fopen(path("bent.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    ASSERT_GE(file, 0);
    kBent[i].bend(file);
    H5Fclose(file);
    EXPECT_EQ(message("bent.h5"), kBent[i].message) << "case " << i;
    EXPECT_THAT(outcome(path("bent.h5"), tagging_data()), testing::AnyOf(kSame, kRefused)) << "case " << i;
  }
}

/// Chunks that the file does not hold read as zeros: for a flipped bit in their index, or here because none was written.
TEST_F(HostileFile, AbsentChunksAreNotTakenForZeros) {
  for (const char* name : {"texts", "labels"}) {
    std::filesystem::copy_file(path("labelled.h5"), path("bent.h5"), std::filesystem::copy_options::overwrite_existing);
    const hid_t file = H5Fopen(path("bent.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    ASSERT_GE(file, 0);
    const Properties properties;
    H5Pset_chunk(properties.list, 1, &kSamples);
    replace(file, name, H5T_STD_I32LE, {kSamples}, properties.list);
    H5Fclose(file);
    EXPECT_EQ(message("bent.h5"), std::string("data set ") + name + ": is damaged (another hash)");
  }
}

/// The values lie in the file as they are, so a value that occurs once says where its chunk is.
TEST_F(HostileFile, ADamagedChunkIsNamed) {
  DatasetFile data = labelled_data();
  data.info.max_length = 100'000;
  for (int32_t t = 0; t < 70'000; ++t) data.tokens.push_back(1'000'000 + t);
  data.offsets.back() = static_cast<int64_t>(data.tokens.size());
  for (const auto& [value, chunk] : {std::pair<int32_t, std::string>{1'000'000, "0 to 65535"},
                                     {1'069'999, "65536 to " + std::to_string(data.tokens.size() - 1)}}) {
    write_dataset_file(data, path("long.h5"));
    std::string bytes = content("long.h5");
    ++bytes.at(bytes.find(std::string(reinterpret_cast<const char*>(&value), sizeof value)));
    write("long.h5", bytes);
    EXPECT_EQ(message("long.h5"), "data set tokens: is damaged (checksum) in the chunk of elements " + chunk);
  }
}

struct Wrong {
  const char* message;
  std::function<void(DatasetFile&)> bend;
  bool labelled = false;
};

const std::vector<Wrong> kWrong{
    {"offsets does not span the data", [](DatasetFile& d) { d.offsets.back() += 1; }},
    {"offsets does not span the data", [](DatasetFile& d) { d.offsets.front() = 1; }},
    {"offsets does not span the data", [](DatasetFile& d) { d.offsets.pop_back(); }},
    {"offsets does not span the data", [](DatasetFile& d) { d.offsets.clear(); }},
    {"offsets does not span the data", [](DatasetFile& d) { d.tokens.pop_back(); }},
    {"offsets[3] is out of order", [](DatasetFile& d) { d.offsets[3] = d.offsets[2]; }},
    {"offsets[4] is out of order", [](DatasetFile& d) { d.offsets[3] = int64_t{1} << 40; }},
    {"offsets[3] is out of order", [](DatasetFile& d) { d.offsets[3] = -1; }},
    {"sample 6 is longer than max_length", [](DatasetFile& d) { d.info.max_length = 10; }},
    {"texts[5] is out of order", [](DatasetFile& d) { d.texts[5] = 3; }},
    {"texts[0] is out of order", [](DatasetFile& d) { d.texts[0] = 1; }},
    {"texts[7] is out of order", [](DatasetFile& d) { d.texts[7] = 100; }},
    {"texts[0] is out of order", [](DatasetFile& d) { d.texts[0] = -2; }},
    {"the description counts other texts than the data", [](DatasetFile& d) { d.info.texts = 41; }},
    {"word_offsets does not span the data", [](DatasetFile& d) { d.word_offsets.back() -= 1; }},
    {"word_offsets[2] is out of order", [](DatasetFile& d) { d.word_offsets[2] = 1; }},
    {"word_gold[4] is label 3 of 3", [](DatasetFile& d) { d.word_gold[4] = 3; }},
    {"word_gold[4] is label -1 of 3", [](DatasetFile& d) { d.word_gold[4] = -1; }},
    {"word_token has another length than word_gold", [](DatasetFile& d) { d.word_token.push_back(1); }},
    {"word_token[3] is out of order", [](DatasetFile& d) { d.word_token[3] = 0; }},
    {"word_token[3] is out of order", [](DatasetFile& d) { d.word_token[3] = -2; }},
    {"word_token[3] is out of order", [](DatasetFile& d) { d.word_token[3] = 6; }},
    {"word_token[5] is out of order", [](DatasetFile& d) { d.word_token[5] = 1; }},
    {"labels has another length than texts", [](DatasetFile& d) { d.labels.pop_back(); }, true},
    {"labels[9] is label 2 of 2", [](DatasetFile& d) { d.labels[9] = 2; }, true},
    {"labels[9] is label -7 of 2", [](DatasetFile& d) { d.labels[9] = -7; }, true},
    {"data set description: 0 labels", [](DatasetFile& d) { d.info.labels.clear(); }, true},
    {"data set description: a label occurs twice", [](DatasetFile& d) { d.info.labels = {"a", "a"}; },
     true},
    {"data set description: the labels are not O, then B- and I- of each type",
     [](DatasetFile& d) { d.info.labels = {"B-X", "I-X", "O"}; }},
    {"data set description: the labels are not O, then B- and I- of each type",
     [](DatasetFile& d) { d.info.labels = {"O", "B-X", "I-Y"}; }},
    {"data set description: the labels are not O, then B- and I- of each type",
     [](DatasetFile& d) { d.info.labels = {"O", "B-X"}; }},
    {"data set description: max_length is not a count", [](DatasetFile& d) { d.info.max_length = -1; }},
};

TEST_F(HostileFile, ArraysThatDoNotFitTogether) {
  for (size_t i = 0; i < kWrong.size(); ++i) {
    DatasetFile data = kWrong[i].labelled ? labelled_data() : tagging_data();
    kWrong[i].bend(data);
    write_dataset_file(data, path("wrong.h5"));
    EXPECT_EQ(message("wrong.h5"), kWrong[i].message) << "case " << i;
  }
}

const std::vector<std::pair<std::string, std::string>> kDescriptions{
    {"", "byte 1: not valid JSON"},
    {"[", "byte 2: not valid JSON"},
    {"{\"format\":\"\xff\"}", "byte 11: invalid UTF-8 or NUL"},
    {"{\"format\":\"fmtrain data set\",\"format\":\"x\"}", "duplicate key \"format\""},
    {"[[[[[[[[[]]]]]]]]]", "nested deeper than 8 levels"},
    {"{\"format\":\"other\"}", "is not a description of a data set"},
    {"{\"format\":\"fmtrain data set\",\"version\":1}", "has version 1, this program reads 2"},
    {"{\"format\":\"fmtrain data set\",\"version\":2,\"task\":\"x\"}", "unknown task \"x\""},
};

TEST_F(HostileFile, DescriptionsThatLie) {
  for (const auto& [text, expected] : kDescriptions) {
    std::filesystem::copy_file(path("tagging.h5"), path("bent.h5"), std::filesystem::copy_options::overwrite_existing);
    const hid_t file = H5Fopen(path("bent.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    ASSERT_GE(file, 0);
    replace(file, "description", H5T_STD_U8LE, {text.size()}, H5P_DEFAULT, text.empty() ? nullptr : text.data());
    H5Fclose(file);
    EXPECT_EQ(message("bent.h5"), "data set description: " + expected);
  }
}

}  // namespace
}  // namespace fmtrain
