// The safetensors parser against malformed files, the writer against the parser, and files of Python's safetensors.
#include "runtime/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "runtime/errors.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;

std::string with_length(uint64_t length, const std::string& rest) {
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + rest;
}

/// A file of `header` and `bytes` zeros.
std::string file_of(const std::string& header, size_t bytes = 0) {
  return with_length(header.size(), header) + std::string(bytes, '\0');
}

std::string problem_of(const std::string& file) {
  try {
    parse_safetensors_header(file, static_cast<int64_t>(file.size()));
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "accepted";
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets, size_t bytes = 8) {
  return file_of("{" + tensor("a", dtype, shape, offsets) + "}", bytes);
}

std::string two(const std::string& first, const std::string& second, size_t bytes = 16) {
  return file_of("{" + tensor("a", "F32", "[2]", first) + "," + tensor("b", "F32", "[2]", second) + "}", bytes);
}

struct Malformed {
  std::string file, message;
};

const std::vector<Malformed>& malformed() {
  static const std::string good = tensor("a", "F32", "[2]", "[0,8]");
  static const std::vector<Malformed> cases{
      {"", "shorter than 8 bytes"},
      {"1234567", "shorter than 8 bytes"},
      {with_length(100'000'001, "{}"), "more than 100,000,000"},
      {with_length(~uint64_t{0}, "{}"), "more than 100,000,000"},
      {with_length(3, "{}"), "claims a header of 3 bytes, the file has 10"},
      {with_length(0, ""), "does not start with {"},
      {with_length(0, "{}"), "does not start with {"},
      {file_of(" {}"), "does not start with {"},
      {file_of("\n{}"), "does not start with {"},
      {file_of("[]"), "does not start with {"},
      {file_of("null"), "does not start with {"},
      {file_of("{}\n"), "does not end with }"},
      {file_of("{} x"), "does not end with }"},
      {file_of("{}{}"), "not valid JSON"},
      {file_of("{\"a\":}"), "not valid JSON"},
      {file_of("{" + good, 8), "not valid JSON"},
      {file_of("{\"\xff\":1}"), "invalid UTF-8"},
      {file_of("{" + good + "," + good + "}", 8), "duplicate key \"a\""},
      {file_of("{\"a\":[[[[[[[[1]]]]]]]]}"), "nested deeper than 8"},
      {file_of("{\"a\":3}"), "tensor \"a\": expected dtype, shape and data_offsets"},
      {file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8), "expected dtype, shape and data_offsets"},
      {file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8), "expected dtype, shape and data_offsets"},
      {file_of(R"({"a":{"dtype":"F32","shape":[2],"offsets":[0,8]}})", 8), "expected dtype, shape and data_offsets"},
      {file_of(R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", 8), "dtype is not a string"},
      {one("Q32", "[2]", "[0,8]"), "tensor \"a\": unknown dtype \"Q32\""},
      {one("f32", "[2]", "[0,8]"), "unknown dtype \"f32\""},
      {one("F32", "[-2]", "[0,8]"), "tensor \"a\": a negative number"},
      {one("F32", "[2.0]", "[0,8]"), "not a whole number"},
      {one("U8", "[true]", "[0,1]", 1), "not a whole number"},
      {one("F32", "[18446744073709551614]", "[0,8]"), "not a whole number"},
      {one("F32", "2", "[0,8]"), "not a list of numbers"},
      {one("F32", "[2]", "[0]"), "data_offsets are not two numbers"},
      {one("F32", "[2]", "[0,4,8]"), "data_offsets are not two numbers"},
      {one("F32", "[2]", "[-8,0]"), "a negative number"},
      {one("F32", "[2]", "[8,0]"), "starts at byte 8, expected 0"},
      {one("F32", "[3]", "[0,8]"), "does not have the bytes it claims"},
      {one("F32", "[]", "[0,8]"), "does not have the bytes it claims"},
      {one("F32", "[4611686018427387904,4]", "[0,8]"), "does not have the bytes it claims"},
      {one("F64", "[2305843009213693953]", "[0,8]"), "does not have the bytes it claims"},
      {one("F32", "[2]", "[0,8]", 9), "the tensors take 8 bytes, the file holds 9"},
      {one("F32", "[2]", "[0,8]", 7), "the tensors take 8 bytes, the file holds 7"},
      {two("[0,8]", "[4,12]"), "tensor \"b\": starts at byte 4, expected 8 (gap or overlap)"},
      {two("[0,8]", "[0,8]"), "starts at byte 0, expected 8 (gap or overlap)"},
      {two("[0,8]", "[12,20]", 20), "starts at byte 12, expected 8 (gap or overlap)"},
      {two("[4,12]", "[12,20]", 20), "starts at byte 4, expected 0 (gap or overlap)"},
      {file_of(R"({"__metadata__":{"a":1}})"), "__metadata__ holds more than strings"},
      {file_of(R"({"__metadata__":"a"})"), "__metadata__ is not an object"},
      {file_of(R"({"__metadata__":null})"), "__metadata__ is not an object"},
      {file_of("{" + tensor(std::string(513, 'n'), "F32", "[2]", "[0,8]") + "}", 8), "name of more than 512 bytes"},
      {std::string("PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00", 12), "is a pickle file"},
      {std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20", 10), "is a pickle file"},
      {std::string("\x80\x04\x95\x3c\x00\x00\x00\x00\x00\x00", 10), "is a pickle file"},
  };
  return cases;
}

TEST(Safetensors, EveryMalformedFileIsRefusedWithItsReason) {
  for (size_t i = 0; i < malformed().size(); ++i)
    EXPECT_THAT(problem_of(malformed()[i].file), HasSubstr(malformed()[i].message)) << i;
}

TEST(Safetensors, EveryPrefixOfAFileIsRefused) {
  const auto file = two("[0,8]", "[8,16]");
  EXPECT_EQ(problem_of(file), "accepted");
  for (size_t n = 0; n < file.size(); ++n) EXPECT_NE(problem_of(file.substr(0, n)), "accepted") << n;
}

TEST(Safetensors, LegalOddities) {
  const std::string empty = "{" + tensor("e", "F32", "[0,3]", "[8,8]") + "," + tensor("a", "F64", "[]", "[0,8]") + "}";
  for (const auto& file : {file_of("{}"), file_of("{}      "), file_of(R"({"__metadata__":{}})"), file_of(empty, 8),
                           two("[8,16]", "[0,8]"), one("F16", "[2,2]", "[0,8]"), one("BOOL", "[8]", "[0,8]")})
    EXPECT_EQ(problem_of(file), "accepted");
  const auto header = parse_safetensors_header(two("[8,16]", "[0,8]"), static_cast<int64_t>(two("[8,16]", "[0,8]").size()));
  EXPECT_EQ(header.tensors[0].name, "b") << "sorted by offset";
}

/// Lengths whose bytes begin like a zip archive (PK) or a pickle (0x80 and a protocol).
TEST(Safetensors, AHeaderLengthThatLooksLikeAPickleIsALength) {
  for (const size_t length : {size_t{19'280}, size_t{0x10480}, size_t{0x20280}}) {
    std::string header = "{" + tensor("a", "F32", "[2]", "[0,8]") + "}";
    header.resize(length, ' ');
    EXPECT_EQ(problem_of(file_of(header, 8)), "accepted") << length;
  }
}

TEST(Safetensors, AHundredThousandTensorsTakeNoTime) {
  std::string header = "{";
  for (int i = 0; i < 100'000; ++i) header += (i ? "," : "") + tensor("t" + std::to_string(i), "U8", "[0]", "[0,0]");
  EXPECT_EQ(problem_of(file_of(header + "}")), "accepted");
  EXPECT_THAT(problem_of(file_of(header + "," + tensor("more", "U8", "[0]", "[0,0]") + "}")),
              HasSubstr("more than 100,000 tensors"));
}

class SafetensorsFiles : public TemporaryFolder {};

TEST_F(SafetensorsFiles, ALargeTensorComesInPieces) {
  SafetensorsHeader header;
  header.tensors.push_back({"first", "F16", {3}, 0, 0});
  header.tensors.push_back({"large", "F32", {300'000}, 0, 0});
  std::string content = make_safetensors_header(header);
  for (int i = 0; i < 6 + 1'200'000; ++i) content += static_cast<char>(i * 7 + i / 1000);
  write("file", content);
  const SafetensorsFile file(path("file"));
  EXPECT_EQ(file.start(), content.substr(0, file.start().size()));
  std::string pieces;
  int count = 0;
  file.read(1, [&](std::string_view piece) {
    EXPECT_EQ(piece.size() % 4, 0u);
    pieces += piece;
    ++count;
  });
  EXPECT_GT(count, 1);
  EXPECT_EQ(pieces, content.substr(file.start().size() + 6));
  std::string whole(1'200'000, '\0');
  file.read(1, whole.data());
  EXPECT_EQ(whole, pieces);
}

TEST_F(SafetensorsFiles, WhatIsWrittenIsRead) {
  SafetensorsHeader header;
  header.metadata = {{"format", "pt"}, {"x", "\xc3\xa9 \"quoted\""}};
  header.tensors = {{"b", "F32", {2, 3}, 0, 0}, {"a", "I64", {}, 0, 0}, {"empty", "F32", {0, 5}, 0, 0}, {"c", "U8", {3}, 0, 0}};
  const std::string start = make_safetensors_header(header);
  EXPECT_EQ(start.size() % 64, 0u);
  std::string data;
  for (int i = 0; i < 24 + 8 + 3; ++i) data += static_cast<char>(i);
  write("file", start + data);
  const SafetensorsFile file(path("file"));
  EXPECT_EQ(file.header().metadata, header.metadata);
  std::string joined;
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(file.header().tensors[i].name, header.tensors[i].name);
    EXPECT_EQ(file.header().tensors[i].shape, header.tensors[i].shape);
    std::string bytes(static_cast<size_t>(header.tensors[i].end - header.tensors[i].begin), 'x');
    file.read(i, bytes.data());
    joined += bytes;
  }
  EXPECT_EQ(joined, data);
}

TEST_F(SafetensorsFiles, ErrorsNameTheFile) {
  write("bad", file_of("{}", 1));
  write("short", "123");
  for (const auto& [name, message] :
       {std::pair{"bad", "the file holds 1"}, {"short", "shorter than 8 bytes"}, {"none", "cannot open"}}) {
    try {
      SafetensorsFile file(path(name));
      ADD_FAILURE() << name;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), testing::AllOf(HasSubstr(path(name) + ": "), HasSubstr(message)));
    }
  }
}

TEST(Safetensors, ReadsWhatPythonWrote) {
  const SafetensorsFile file(FMTRAIN_SOURCE_DIR "/tests/golden/bert/tiny_tokens.safetensors");
  bool found = false;
  for (size_t i = 0; i < file.header().tensors.size(); ++i) {
    const auto& t = file.header().tensors[i];
    if (t.name != "tokens") continue;
    found = true;
    EXPECT_EQ(t.dtype, "I64");
    std::vector<int64_t> ids(static_cast<size_t>(t.shape.at(0)));
    file.read(i, ids.data());
    for (const auto id : ids) EXPECT_TRUE(id >= 0 && id < 1000) << id;
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace fmtrain
